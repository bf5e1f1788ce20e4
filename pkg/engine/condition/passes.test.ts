/** Compares the branch-free loops with simple ones. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isValid } from "#pkg/columns/column-batch.ts";
import {
  answers,
  countRows,
  lookUpCodes,
  lookUpValidCodes,
  type Pass,
  seenCodes,
  subtractRows,
  uniteRows,
  wordsOf,
} from "./passes.ts";

const bit = fc.integer({ min: 0, max: 1 });
const answer = fc.constantFrom(answers.none, answers.no, answers.yes);

/** Rows with codes from -1 to 9; some are pending, some others are already hits. */
const cases = fc
  .array(fc.record({ code: fc.integer({ min: -1, max: 9 }), pending: bit, hit: bit, valid: bit }), {
    maxLength: 100,
  })
  .map((rows) => ({
    codes: Int32Array.from(rows, ({ code }) => code),
    valid: bitmapOf(rows.map(({ valid }) => valid)),
    pass: {
      pending: Uint8Array.from(rows, ({ pending }) => pending),
      hits: Uint8Array.from(rows, ({ pending, hit }) => (pending === 1 ? 0 : hit)),
    },
  }));
const tables = fc
  .array(answer, { minLength: 11, maxLength: 11 })
  .map((all) => Uint8Array.from(all));

function bitmapOf(bits: readonly number[]): Uint8Array {
  const out = new Uint8Array((bits.length + 7) >> 3);
  bits.forEach((one, row) => (out[row >> 3] |= one << (row & 7)));
  return out;
}

/** The oracle, row by row. */
function plain(codes: Iterable<number>, table: Uint8Array, pass: Pass, valid?: Uint8Array): Pass {
  const out = { pending: pass.pending.slice(), hits: pass.hits.slice() };
  for (const [row, code] of [...codes].entries()) {
    const said = table[code + 1];
    if (out.pending[row] === 0 || !isValid(valid, row) || said === answers.none) continue;
    out.pending[row] = 0;
    out.hits[row] = said === answers.yes ? 1 : 0;
  }
  return out;
}

function copyOf({ pending, hits }: Pass): Pass {
  return { pending: pending.slice(), hits: hits.slice() };
}

describe("passes over rows", () => {
  it("look codes up", () => {
    fc.assert(
      fc.property(cases, tables, ({ codes, valid, pass }, table) => {
        const found = copyOf(pass);
        lookUpCodes(codes, table, found);
        expect(found).toEqual(plain(codes, table, pass));
        const small = Uint8Array.from(codes, (code) => Math.max(code, 0));
        const ofSmall = copyOf(pass);
        lookUpCodes(small, table, ofSmall);
        expect(ofSmall).toEqual(plain(small, table, pass));
        const ofValid = copyOf(pass);
        lookUpValidCodes(small, valid, table, ofValid);
        expect(ofValid).toEqual(plain(small, table, pass, valid));
      }),
      { numRuns: 500 },
    );
  });

  it("mark the codes of pending rows", () => {
    fc.assert(
      fc.property(cases, ({ codes, pass: { pending } }) => {
        const seen = new Set([...codes].filter((_, row) => pending[row] === 1));
        const expected = Array.from({ length: 11 }, (_, place) => (seen.has(place - 1) ? 1 : 0));
        expect([...seenCodes(codes, pending, 10)]).toEqual(expected);
      }),
    );
  });

  it("count, unite and subtract", () => {
    fc.assert(
      fc.property(cases, ({ pass: { pending, hits } }) => {
        const count = [...hits].filter((one) => one === 1).length;
        expect(countRows(hits)).toBe(count);
        const shifted = new Uint8Array(hits.length + 1).subarray(1);
        shifted.set(hits);
        expect(countRows(shifted)).toBe(count);
        expect(wordsOf(shifted)).toHaveLength(0);
        expect(wordsOf(hits)).toHaveLength(hits.length >> 2);
        const out = new Uint8Array(hits.length).fill(9);
        uniteRows(pending, hits, out);
        expect([...out]).toEqual([...hits].map((one, row) => Math.max(one, pending[row])));
        subtractRows(pending, hits, out);
        expect([...out]).toEqual([...pending].map((one, row) => (hits[row] === 1 ? 0 : one)));
      }),
    );
  });
});
