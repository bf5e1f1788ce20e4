/** Compares the readers of packed numbers with simple writers, at any position in a page. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import { cursorOf, readDelta, readHybrid } from "./bits.ts";

/** Bits, least significant first, to whole bytes. */
function packBits(values: readonly bigint[], width: number): number[] {
  let bits = 0n;
  values.forEach((value, i) => (bits |= value << BigInt(i * width)));
  const bytes = Math.ceil((values.length * width) / 8);
  return Array.from({ length: bytes }, (_, i) => Number((bits >> BigInt(8 * i)) & 0xffn));
}

function varint(value: bigint): number[] {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 0x7fn; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80);
  return [...out, Number(rest)];
}

function zigzag(value: bigint): number[] {
  return varint((value << 1n) ^ (value >> 63n));
}

interface Run {
  isPacked: boolean;
  /** One value many times, or groups of eight. */
  values: number[];
}

function hybridOf(runs: readonly Run[], width: number): number[] {
  return runs.flatMap(({ isPacked, values }) => {
    if (isPacked) {
      const packed = packBits(values.map(BigInt), width);
      return [...varint(BigInt((values.length / 8) * 2 + 1)), ...packed];
    }
    const bytes = Math.ceil(width / 8);
    const value = Array.from({ length: bytes }, (_, i) => (values[0] >>> (8 * i)) & 0xff);
    return [...varint(BigInt(values.length * 2)), ...value];
  });
}

const hybrids = fc.integer({ min: 0, max: 24 }).chain((width) => {
  const value = fc.integer({ min: 0, max: 2 ** width - 1 });
  const packed = fc
    .array(fc.tuple(value, value, value, value, value, value, value, value), {
      minLength: 1,
      maxLength: 6,
    })
    .map((groups): Run => ({ isPacked: true, values: groups.flat() }));
  const same = fc
    .tuple(value, fc.integer({ min: 1, max: 40 }))
    .map(([one, times]): Run => ({ isPacked: false, values: Array(times).fill(one) }));
  return fc.record({
    width: fc.constant(width),
    runs: fc.array(fc.oneof(packed, same), { minLength: 1, maxLength: 6 }),
  });
});

/** Bytes before and after the numbers in the page. */
const margins = fc.record({
  before: fc.integer({ min: 0, max: 9 }),
  after: fc.constantFrom(0, 0, 1, 2, 3, 4, 5, 8, 40),
});

function pageOf(bytes: readonly number[], { before, after }: { before: number; after: number }) {
  const page = Uint8Array.from([...Array(before).fill(0xa5), ...bytes, ...Array(after).fill(0xff)]);
  const cursor = cursorOf(page);
  cursor.pos = before;
  return cursor;
}

/** Returns the numbers, or "corrupt". Any other error fails the test. */
function orCorrupt(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    expect(error).toBeInstanceOf(SpoorError);
    expect(error).toMatchObject({ code: "Corrupt" });
    return "corrupt";
  }
}

describe("readHybrid", () => {
  it("reads runs of any width, and writes nothing else", () => {
    fc.assert(
      fc.property(hybrids, margins, fc.nat(), ({ width, runs }, around, less) => {
        const bytes = hybridOf(runs, width);
        const values = runs.flatMap((run) => run.values);
        const count = values.length - (less % Math.min(values.length, 8));
        const small = width <= 8 ? [new Uint8Array(count + 4)] : [];
        for (const out of [new Int32Array(count + 4), ...small]) {
          out.fill(77);
          readHybrid(pageOf(bytes, around), width, count, out, 2);
          expect([...out.subarray(2, count + 2)]).toEqual(values.slice(0, count));
          expect([...out.subarray(0, 2), ...out.subarray(count + 2)]).toEqual([77, 77, 77, 77]);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("throws Corrupt for truncated bytes", () => {
    fc.assert(
      fc.property(hybrids, fc.nat(), ({ width, runs }, cut) => {
        const bytes = hybridOf(runs, width);
        const count = runs.flatMap(({ values }) => values).length;
        const part = bytes.slice(0, cut % bytes.length);
        const out = new Int32Array(count);
        const found = orCorrupt(() => readHybrid(pageOf(part, noMargins), width, count, out, 0));
        // Without a width, values take no bytes, but runs have a header.
        expect(found).toBe("corrupt");
      }),
      { numRuns: 500 },
    );
  });

  it("refuses a run whose value is wider than the declared width", () => {
    const out = new Int32Array(8);
    const read = (value: number) => () =>
      readHybrid(cursorOf(Uint8Array.of(16, value)), 3, 8, out, 0);
    read(7)();
    expect([...out]).toEqual(Array(8).fill(7));
    expect(orCorrupt(read(8))).toBe("corrupt");
  });
});

const noMargins = { before: 0, after: 0 };

/** Encodes deltas in parts of `perMini` values, four per block; empty parts have no bytes. */
function deltasOf(values: readonly bigint[], perMini: number, extraBits: number): number[] {
  const out = [...varint(BigInt(perMini * 4)), 4, ...varint(BigInt(values.length))];
  out.push(...zigzag(values[0] ?? 0n));
  const deltas = values.slice(1).map((value, i) => BigInt.asIntN(64, value - values[i]));
  for (let from = 0; from < deltas.length; from += perMini * 4) {
    const block = deltas.slice(from, from + perMini * 4);
    const min = block.reduce((a, b) => (b < a ? b : a));
    const minis = [0, 1, 2, 3].map((i) => {
      const above = block
        .slice(i * perMini, (i + 1) * perMini)
        .map((delta) => BigInt.asUintN(64, delta - min));
      if (above.length === 0) return { width: 0, bytes: [] };
      const bits = Math.max(...above.map((one) => (one === 0n ? 0 : one.toString(2).length)));
      const width = Math.min(64, bits + extraBits);
      while (above.length < perMini) above.push(0n);
      return { width, bytes: packBits(above, width) };
    });
    out.push(...zigzag(min), ...minis.map(({ width }) => width));
    out.push(...minis.flatMap(({ bytes }) => bytes));
  }
  return out;
}

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const longs = fc.oneof(
  fc.array(int64, { maxLength: 90 }),
  fc.array(fc.bigInt({ min: 0n, max: 160_000_000n }), { maxLength: 300 }),
  // Sums that cross 2^32 and zero repeatedly.
  fc
    .tuple(int64, fc.array(fc.bigInt({ min: -(2n ** 31n), max: 2n ** 31n }), { maxLength: 200 }))
    .map(([first, steps]) => {
      let last = first;
      return [first, ...steps.map((step) => (last = BigInt.asIntN(64, last + step)))];
    }),
);

describe("readDelta", () => {
  it("reads 64-bit integers from parts of any width", () => {
    fc.assert(
      fc.property(
        longs,
        fc.constantFrom(8, 32, 64),
        fc.constantFrom(0, 0, 1, 5),
        margins,
        (values, perMini, extraBits, around) => {
          const out = new BigInt64Array(values.length + 2).fill(-7n);
          const cursor = pageOf(deltasOf(values, perMini, extraBits), around);
          readDelta(cursor, values.length, new Int32Array(out.buffer), 1);
          expect([...out]).toEqual([-7n, ...values, -7n]);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it("throws Corrupt for truncated bytes", () => {
    fc.assert(
      fc.property(longs, fc.nat(), (values, cut) => {
        const bytes = deltasOf(values, 32, 0);
        const cursor = pageOf(bytes.slice(0, cut % bytes.length), noMargins);
        const out = new Int32Array(values.length * 2);
        expect(orCorrupt(() => readDelta(cursor, values.length, out, 0))).toBe("corrupt");
      }),
      { numRuns: 500 },
    );
  });
});
