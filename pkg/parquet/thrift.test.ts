import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hasCode } from "#pkg/errors/errors.ts";
import { decodeThrift, encodeThrift, type ThriftStruct, type ThriftValue } from "./thrift.ts";

const i64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const bytes = fc.uint8Array({ maxLength: 20 });

/** An item of a list or the value of a field. A boolean field has its value in its type. */
const { value } = fc.letrec<{ value: ThriftValue; struct: ThriftStruct }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.boolean().map((on): ThriftValue => ({ type: on ? 1 : 2, value: on })),
    fc.record({ type: fc.constant(3), value: fc.nat({ max: 255 }) }),
    fc.record({ type: fc.constantFrom(4, 5, 6), value: i64 }),
    fc.record({ type: fc.constant(7), value: fc.double({ noNaN: true }) }),
    fc.record({ type: fc.constant(8), value: bytes }),
    fc
      .tuple(fc.constantFrom(9, 10), fc.array(tie("value"), { maxLength: 20 }))
      .map(([type, mixed]): ThriftValue => {
        const items = mixed.filter((item) => elementType(item) === elementType(mixed[0]));
        const list = { elementType: items.length === 0 ? 12 : elementType(items[0]), items };
        return { type: type as 9 | 10, value: list };
      }),
    tie("struct").map((struct): ThriftValue => ({ type: 12, value: struct })),
  ),
  struct: fc
    .uniqueArray(fc.tuple(fc.integer({ min: -300, max: 300 }), tie("value")), {
      selector: ([id]) => id,
      maxLength: 6,
    })
    .map((fields) => new Map(fields.toSorted(([a], [b]) => a - b))),
}));
const struct = fc
  .uniqueArray(fc.tuple(fc.nat({ max: 40 }), value), { selector: ([id]) => id, maxLength: 8 })
  .map((fields): ThriftStruct => new Map(fields.toSorted(([a], [b]) => a - b)));

/** Booleans of both values share the element type 1. */
function elementType(item: ThriftValue): number {
  return item.type === 2 ? 1 : item.type;
}

/** The decoder gives boolean list items the list's element type. */
function normal(item: ThriftValue): unknown {
  const { value: inner } = item;
  if (typeof inner === "boolean") return inner;
  if (inner instanceof Map) return [...inner].map(([id, field]) => [id, normal(field)]);
  if (inner instanceof Uint8Array) return Buffer.from(inner).toString("hex");
  if (typeof inner !== "object") return [item.type, inner];
  return [item.type, inner.elementType, inner.items.map(normal)];
}

function expectCorrupt(input: Uint8Array): void {
  try {
    decodeThrift(input);
  } catch (error) {
    expect(hasCode(error, "Corrupt")).toBe(true);
    return;
  }
  throw new Error("nothing was thrown");
}

describe("thrift", () => {
  it("decodes what it encodes, at any offset", () => {
    fc.assert(
      fc.property(struct, bytes, (fields, before) => {
        const encoded = encodeThrift(fields);
        const { value: decoded, end } = decodeThrift(
          Buffer.concat([before, encoded, before]),
          before.length,
        );
        expect(end).toBe(before.length + encoded.length);
        const whole = (map: ThriftStruct): unknown => normal({ type: 12, value: map });
        expect(whole(decoded)).toEqual(whole(fields));
        expect(encodeThrift(decoded)).toEqual(encoded);
      }),
      { numRuns: 300 },
    );
  });

  it("rejects truncation at every byte", () => {
    fc.assert(
      fc.property(struct, (fields) => {
        const encoded = encodeThrift(fields);
        for (let size = 0; size < encoded.length; size++) expectCorrupt(encoded.subarray(0, size));
      }),
      { numRuns: 100 },
    );
  });

  it("terminates on random bytes, with a typed error if any", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (input) => {
        try {
          encodeThrift(decodeThrift(input).value);
        } catch (error) {
          expect(hasCode(error, "Corrupt")).toBe(true);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("rejects values nested too deeply, in structs and in lists", () => {
    expectCorrupt(Buffer.alloc(1_000_000, 0x1c));
    expectCorrupt(Buffer.alloc(1_000_000, 0x19));
    expectCorrupt(Buffer.concat([Uint8Array.of(0x1a), Buffer.alloc(1_000_000, 0x1a)]));
  });

  it("rejects lists of more items than bytes, or than the limit", () => {
    expectCorrupt(Uint8Array.of(0x19, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0));
    const many = 5_000_000;
    const header = Uint8Array.of(0x19, 0xf3, ...varint(many));
    expectCorrupt(Buffer.concat([header, Buffer.alloc(many + 10)]));
  });

  it("rejects integers longer than 10 bytes and values longer than the input", () => {
    expectCorrupt(Buffer.concat([Uint8Array.of(0x16), Buffer.alloc(11, 0xff), Buffer.alloc(2)]));
    expectCorrupt(Uint8Array.of(0x18, ...varint(2 ** 31), 1, 2, 3));
  });
});

function varint(value: number): number[] {
  const out: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...out, rest];
    out.push((rest % 128) | 0x80);
  }
}
