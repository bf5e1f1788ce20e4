import fc from "fast-check";
import { expect, test } from "vitest";
import type { Piece } from "#pkg/objstore/object-store.ts";
import { isRange, joinedBytesMax, joinPieces, sizeOf } from "#pkg/objstore/pieces.ts";
import { copyBytesMax, type Part, planParts } from "./s3-parts.ts";

const MIB = 1024 * 1024;
const bound = 5 * MIB;

const range = (key: string, start: number, sizeBytes: number): Piece => {
  return { key, start, end: start + sizeBytes };
};

/** "sent 5", "copied a 7-12": sizes in MiB, where they are whole. */
function shown(parts: readonly Part[]): string[] {
  const mib = (bytes: number): string => String(bytes / MIB);
  return parts.map((part) => {
    if (part.kind === "sent") return `sent ${mib(part.sizeBytes)}`;
    const { key, start, end } = part.range;
    return `copied ${key} ${mib(start)}-${mib(end)}`;
  });
}

test("long ranges are copied; short ones and bytes are sent in parts of the minimum size", () => {
  const bytes = (mib: number): Uint8Array => new Uint8Array(mib * MIB);
  const plans: [Piece[], string[]][] = [
    [[], []],
    [[bytes(0)], []],
    [[bytes(1), range("a", 0, 4 * MIB)], ["sent 5"]],
    [[range("a", MIB, bound - 1)], [`sent ${(bound - 1) / MIB}`]],
    [[range("a", MIB, bound)], ["copied a 1-6"]],
    // The range may be its whole object, and AWS does not copy from objects of up to 5 MiB.
    [[range("a", 0, bound)], ["sent 5"]],
    [
      [range("a", 0, 6 * MIB), bytes(1)],
      ["copied a 0-6", "sent 1"],
    ],
    [
      [bytes(1), range("a", 0, 9 * MIB), range("b", 0, 20 * MIB)],
      ["sent 5", "copied a 4-9", "copied b 0-20"],
    ],
    [
      [bytes(1), range("a", 0, 8 * MIB), range("b", 0, 20 * MIB)],
      ["sent 9", "copied b 0-20"],
    ],
    [
      [bytes(11), range("a", 0, 12 * MIB)],
      ["sent 10", "sent 5", "copied a 4-12"],
    ],
    [[range("a", 0, 3 * MIB), range("a", 3 * MIB, 4 * MIB)], ["copied a 0-7"]],
    [[range("a", 0, 600 * MIB)], ["copied a 0-200", "copied a 200-400", "copied a 400-600"]],
  ];
  for (const [pieces, expected] of plans) expect(shown(planParts(pieces))).toEqual(expected);
});

const anySize = fc.oneof(
  fc.integer({ min: 1, max: 100 }),
  fc.integer({ min: -3, max: 3 }).map((by) => bound + by),
  fc.integer({ min: -3, max: 3 }).map((by) => 2 * bound + by),
  fc.integer({ min: 1, max: 900 * MIB }),
);
const anyPiece = fc.oneof(
  fc.integer({ min: 0, max: 100 }).map((size) => new Uint8Array(size)),
  fc
    .record({ key: fc.constantFrom("a", "b"), start: fc.nat(2 * bound), size: anySize })
    .map(({ key, start, size }) => range(key, start, size)),
);

/** Returns the ranges, with the number of bytes before each. */
function layout(pieces: readonly Piece[]): string[] {
  let at = 0;
  const places = joinPieces(pieces).map((piece) => {
    at += sizeOf(piece);
    return isRange(piece) ? `${at} ${piece.key} ${piece.end}` : "";
  });
  return [...places.filter((place) => place !== ""), String(at)];
}

test("any plan contains all pieces in order, in parts that every server accepts", () => {
  fc.assert(
    fc.property(fc.array(anyPiece, { maxLength: 12 }), (pieces) => {
      const parts = planParts(pieces);
      const planned = parts.flatMap((part) => (part.kind === "sent" ? part.pieces : [part.range]));
      expect(layout(planned)).toEqual(layout(pieces));
      parts.forEach((part, index) => {
        const isLast = index === parts.length - 1;
        if (part.kind === "copied") {
          expect(sizeOf(part.range)).toBeGreaterThanOrEqual(bound);
          expect(sizeOf(part.range)).toBeLessThanOrEqual(copyBytesMax);
          expect(part.range.end).toBeGreaterThan(bound);
        } else {
          expect(part.sizeBytes).toBe(part.pieces.reduce((sum, piece) => sum + sizeOf(piece), 0));
          expect(part.sizeBytes).toBeLessThanOrEqual(joinedBytesMax);
          if (!isLast) expect(part.sizeBytes).toBeGreaterThanOrEqual(bound);
        }
      });
    }),
  );
});

test("only short ranges and the bytes that short parts lack are sent", () => {
  fc.assert(
    fc.property(fc.array(anyPiece, { maxLength: 12 }), (pieces) => {
      const sent = planParts(pieces).filter(({ kind }) => kind === "sent");
      const bytes = sent.reduce((sum, part) => sum + (part as { sizeBytes: number }).sizeBytes, 0);
      const isLong = (piece: Piece): boolean => isRange(piece) && sizeOf(piece) >= 2 * bound;
      const joined = joinPieces(pieces);
      const short = joined.filter((piece) => !isLong(piece));
      const long = joined.length - short.length;
      const shortBytes = short.reduce((sum, piece) => sum + sizeOf(piece), 0);
      expect(bytes).toBeLessThanOrEqual(shortBytes + long * bound);
    }),
  );
});
