import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  bigInt,
  bigInt64s,
  bigUint64s,
  bool,
  bytes,
  type Codec,
  count,
  decode,
  dictionary,
  encode,
  float,
  float64s,
  list,
  nested,
  optional,
  record,
  text,
  variant,
  word,
} from "./codec.ts";

type Shape = { kind: "leaf"; value: number } | { kind: "pair"; left: Shape; right: Shape };

const shape: Codec<Shape> = variant<Shape, "kind">("kind", {
  leaf: record<{ value: number }>({ value: count }),
  pair: record<{ left: Shape; right: Shape }>({
    left: nested(() => shape),
    right: nested(() => shape),
  }),
});

interface Message {
  flag: boolean;
  size: number;
  share: number;
  big: bigint;
  name: string;
  ids: Uint8Array;
  starts: BigInt64Array;
  prints: BigUint64Array;
  counts: Float64Array;
  some?: string[];
  by: Record<string, bigint>;
  word: "one" | "two";
  shape: Shape;
}

const message: Codec<Message> = record<Message>({
  flag: bool,
  size: count,
  share: float,
  big: bigInt,
  name: text,
  ids: bytes,
  starts: bigInt64s,
  prints: bigUint64s,
  counts: float64s,
  some: optional(list(text)),
  by: dictionary(bigInt),
  word: word(["one", "two"]),
  shape,
});

const texts = fc.string({ unit: "binary" });
const bigInts = fc.bigInt({ min: -(2n ** 127n), max: 2n ** 127n - 1n });
const { tree: shapes } = fc.letrec<{ tree: Shape }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5 },
    fc.record({ kind: fc.constant("leaf" as const), value: fc.maxSafeNat() }),
    fc.record({ kind: fc.constant("pair" as const), left: tie("tree"), right: tie("tree") }),
  ),
}));

const messages: fc.Arbitrary<Message> = fc.record(
  {
    flag: fc.boolean(),
    size: fc.maxSafeNat(),
    share: fc.double(),
    big: bigInts,
    name: texts,
    ids: fc.uint8Array(),
    starts: fc.bigInt64Array(),
    prints: fc.bigUint64Array(),
    counts: fc.float64Array(),
    some: fc.array(texts),
    by: fc.dictionary(texts, bigInts, { noNullPrototype: true }),
    word: fc.constantFrom("one", "two"),
    shape: shapes,
  },
  {
    requiredKeys: [
      ...(["flag", "size", "share", "big", "name", "ids", "starts", "prints", "counts"] as const),
      ...(["by", "word", "shape"] as const),
    ],
  },
);

describe("messages", () => {
  it("are equal after encoding and decoding", () => {
    fc.assert(
      fc.property(messages, (value) => {
        expect(decode(message, encode(message, value))).toEqual(value);
      }),
      { numRuns: 200 },
    );
  });

  it("that are cut, changed or longer cause a typed error, or decode to other messages", () => {
    const changes = fc.record({ at: fc.nat(), byte: fc.nat(255), length: fc.nat() });
    fc.assert(
      fc.property(messages, changes, (value, { at, byte, length }) => {
        const whole = encode(message, value);
        const changed = whole.slice();
        changed[at % whole.length] = byte;
        const cut = whole.subarray(0, length % whole.length);
        const longer = Uint8Array.of(...whole, 0);
        for (const one of [changed, cut, longer]) {
          try {
            decode(message, one);
            expect(one).toBe(changed);
          } catch (error) {
            expect(error).toBeInstanceOf(SpoorError);
            expect(["wire", "wire_version"]).toContain((error as SpoorError).reason);
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  it.each([
    ["an empty one", []],
    ["an older version", [0, 1]],
    ["a list that is longer than the message", [1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]],
    ["a count beyond 2^53", [1, ...Array.from({ length: 9 }, () => 0xff), 1]],
  ])("are refused: %s", (_what, given) => {
    const numbers = list(count);
    expect(() => decode(numbers, Uint8Array.from(given))).toThrow(
      expect.objectContaining({ code: "Corrupt", reason: "wire" }),
    );
  });

  it("of a newer version are rejected by their version", () => {
    expect(() => decode(bool, Uint8Array.of(2, 1))).toThrow(
      expect.objectContaining({ code: "InvalidInput", reason: "wire_version" }),
    );
  });

  it("can nest as deeply as conditions, and no deeper", () => {
    const leaf: Shape = { kind: "leaf", value: 1 };
    let deep: Shape = leaf;
    for (let i = 0; i < 1000; i++) deep = { kind: "pair", left: deep, right: leaf };
    const encoded = encode(shape, deep);
    expect(encode(shape, decode(shape, encoded))).toEqual(encoded);
    const hostile = new Uint8Array(100_000).fill(1);
    expect(() => decode(shape, hostile)).toThrow(
      expect.objectContaining({ code: "Corrupt", message: expect.stringContaining("nested") }),
    );
  });

  it("cannot encode values outside of their declared types", () => {
    const internal = expect.objectContaining({ code: "Internal" });
    expect(() => encode(count, -1)).toThrow(internal);
    expect(() => encode(count, 0.5)).toThrow(internal);
    expect(() => encode(bigInt, 2n ** 127n)).toThrow(internal);
    expect(() => encode(word<string>(["one"]), "two")).toThrow(internal);
  });
});
