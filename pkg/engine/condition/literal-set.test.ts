import fc from "fast-check";
import { expect, it } from "vitest";
import type { Scalar } from "#pkg/traceql/ast.ts";
import { setComparison } from "./literal-set.ts";
import { idComparisonWith, comparisonWith } from "./predicate.ts";
import type { Value } from "./values.ts";

const range = { from: 0, to: 0 };
const number = fc.oneof(
  fc.bigInt({ min: -2n, max: 3n }).map((value) => ({ type: "int" as const, value })),
  fc.bigInt({ min: -2n, max: 3n }).map((value) => ({ type: "duration" as const, value })),
  fc
    .constantFrom(-0, 0, 1, 1.5, 2, 2 ** 53, Number.POSITIVE_INFINITY)
    .map((value) => ({ type: "float" as const, value })),
  fc.constantFrom(2n ** 53n, 2n ** 53n + 1n).map((value) => ({ type: "int" as const, value })),
);
const text = fc
  .constantFrom("", "a", "b", "00a", "A")
  .map((value) => ({ type: "string" as const, value }));
const sets: fc.Arbitrary<Scalar[]> = fc.oneof(
  fc.array<Scalar>(number, { minLength: 2, maxLength: 4 }),
  fc.array<Scalar>(text, { minLength: 2, maxLength: 4 }),
);
const scalar: fc.Arbitrary<Value> = fc.oneof(
  number,
  text,
  fc.constantFrom<Value>(
    { type: "float", value: Number.NaN },
    { type: "bool", value: true },
    { type: "other" },
  ),
);
const value: fc.Arbitrary<Value> = fc.oneof(
  scalar,
  fc.array(scalar, { maxLength: 3 }).map((values): Value => ({ type: "array", values })),
);

it("a set is equivalent to its single comparisons", () => {
  fc.assert(
    fc.property(sets, value, fc.boolean(), (values, one, isId) => {
      const single = isId ? idComparisonWith : comparisonWith;
      const given: Value = isId && one.type === "array" ? { type: "other" } : one;
      for (const op of ["=", "!="] as const) {
        const answers = values.map((literal) => single(op, literal).value(given));
        const expected = op === "=" ? answers.includes(true) : !answers.includes(false);
        expect(setComparison(op, { kind: "set", values, range }, isId).value(given)).toBe(expected);
      }
    }),
    { numRuns: 3000 },
  );
});
