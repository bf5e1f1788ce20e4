/** Compares tests of whole columns with tests of single rows. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CodedInt64 } from "#pkg/columns/coded-int64.ts";
import type { Pass } from "./passes.ts";
import { comparisonWith, exists, type Predicate } from "./predicate.ts";
import { DictValues, DurationValues, IntValues, type RowValues } from "./row-values.ts";
import type { Value } from "./values.ts";

const bit = fc.integer({ min: 0, max: 1 });
/** Few pending rows, so that whole words of the mask are skipped, or many. */
const pendings = fc.oneof(
  fc.array(bit, { minLength: 120, maxLength: 120 }),
  fc.array(fc.nat({ max: 119 }), { maxLength: 4 }).map((rows) => {
    const mask: number[] = Array(120).fill(0);
    for (const row of rows) mask[row] = 1;
    return mask;
  }),
);
const cases = fc.record({
  rows: fc.nat({ max: 120 }),
  /** Byte offset of the masks in their buffer. */
  shift: fc.nat({ max: 4 }),
  pending: pendings,
  hits: fc.array(bit, { minLength: 120, maxLength: 120 }),
  valid: fc.option(fc.uint8Array({ minLength: 15, maxLength: 15 }), { nil: undefined }),
});
type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never;

const small = fc.bigInt({ min: -3n, max: 3n });
const edges = fc.constantFrom(
  -(2n ** 63n),
  2n ** 63n - 1n,
  2n ** 32n,
  -(2n ** 32n),
  2n ** 32n - 1n,
);
const int = fc.oneof(small, small, edges);
const intPredicates = fc.oneof(
  fc.constant(exists),
  fc
    .tuple(
      fc.constantFrom("=", "!=", "<", "<=", ">", ">="),
      int,
      fc.constantFrom("int", "duration"),
    )
    .map(([op, value, type]) => comparisonWith(op, { type, value })),
  fc
    .constantFrom(0.5, -1.5, Number.NaN, Infinity, -Infinity)
    .map((value) => comparisonWith(">", { type: "float", value })),
);

function passOf({ rows, shift, pending, hits }: Case): Pass {
  const maskOf = (bits: readonly number[]): Uint8Array => {
    const mask = new Uint8Array(rows + shift).subarray(shift);
    mask.set(bits.slice(0, rows));
    return mask;
  };
  const isHit = hits.map((hit, row) => (pending[row] === 1 ? 0 : hit));
  return { pending: maskOf(pending), hits: maskOf(isHit) };
}

/** Tests the whole column, and row by row. */
function check(values: RowValues, predicate: Predicate, one: Case): void {
  const expected = passOf(one);
  for (let row = 0; row < one.rows; row++) {
    if (expected.pending[row] === 0) continue;
    const value = values.get(row);
    if (value === undefined) continue;
    expected.pending[row] = 0;
    expected.hits[row] = predicate.value(value) ? 1 : 0;
  }
  const found = passOf(one);
  values.test(predicate, found);
  expect([...found.hits]).toEqual([...expected.hits]);
  expect([...found.pending]).toEqual([...expected.pending]);
}

describe("values of rows", () => {
  it("integers and durations", () => {
    const columns = fc.array(int, { minLength: 120, maxLength: 120 });
    fc.assert(
      fc.property(cases, columns, intPredicates, (one, column, predicate) => {
        const values = BigInt64Array.from(column.slice(0, one.rows));
        check(new IntValues({ values, valid: one.valid }), predicate, one);
        check(new IntValues({ values, valid: one.valid }, "duration"), predicate, one);
        check(new DurationValues({ values }), predicate, one);
      }),
      { numRuns: 500 },
    );
  });

  it("integers by dictionary", () => {
    const entries = fc.array(int, { minLength: 1, maxLength: 5 });
    const codes = fc.array(fc.nat({ max: 100 }), { minLength: 120, maxLength: 120 });
    fc.assert(
      fc.property(cases, entries, codes, intPredicates, (one, some, picks, predicate) => {
        const own = picks.slice(0, one.rows).map((pick) => pick % some.length);
        for (const codesOf of [Uint8Array.from(own), Int32Array.from(own)]) {
          const coded = { codes: codesOf, entries: BigInt64Array.from(some) };
          check(new IntValues(new CodedInt64(coded, one.valid)), predicate, one);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("texts by dictionary", () => {
    const texts = ["", "a", "b", "ab", "a longer text"];
    const bytes = Buffer.from(texts.join(""));
    const offsets = new Int32Array(texts.length + 1);
    texts.forEach((text, i) => (offsets[i + 1] = offsets[i] + text.length));
    const dictionary = { bytes, offsets, length: texts.length };
    const make = (value: string): Value => ({ type: "string", value });
    const predicates = fc
      .tuple(fc.constantFrom("=", "!=", "<", "=~", "!~"), fc.constantFrom("", "a", "a.*", "c"))
      .map(([op, value]) => comparisonWith(op, { type: "string", value }));
    const codes = fc.array(fc.integer({ min: -1, max: 4 }), { minLength: 120, maxLength: 120 });
    fc.assert(
      fc.property(cases, codes, predicates, fc.boolean(), (one, picks, predicate, hasAbsent) => {
        const column = { codes: Int32Array.from(picks.slice(0, one.rows)), dictionary };
        const absent = hasAbsent ? make("") : undefined;
        check(new DictValues(column, make, absent), predicate, one);
        check(new DictValues(undefined, make, absent), predicate, one);
      }),
      { numRuns: 500 },
    );
  });

  it("an entry that no pending row has is not tested", () => {
    const dictionary = { bytes: Buffer.from("ab"), offsets: Int32Array.of(0, 1, 2), length: 2 };
    const asked: string[] = [];
    const predicate: Predicate = {
      value: (value) => {
        asked.push((value as { value: string }).value);
        return true;
      },
    };
    const codes = Int32Array.of(0, 1, 0, -1);
    const pass = { pending: Uint8Array.of(1, 0, 1, 1), hits: new Uint8Array(4) };
    new DictValues({ codes, dictionary }, (value) => ({ type: "string", value })).test(
      predicate,
      pass,
    );
    expect(asked).toEqual(["a"]);
    expect([...pass.hits]).toEqual([1, 0, 1, 0]);
    expect([...pass.pending]).toEqual([0, 0, 0, 1]);
  });
});
