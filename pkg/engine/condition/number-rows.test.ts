import fc from "fast-check";
import { expect, it } from "vitest";
import type { ColumnBatch } from "#pkg/columns/column-batch.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { AnyValue } from "#pkg/otlp/trace-data.ts";
import { parseQuery } from "#pkg/traceql/traceql.ts";
import type { FieldExpr } from "#pkg/traceql/ast.ts";
import { evaluateFilter } from "./filter.ts";
import { RowEvaluator } from "./filter-rows.ts";
import { batchOfHead, headOfRecord, traceDataOf } from "#pkg/engine/testing/spans.ts";

const numbers = fc.oneof(
  fc.constantFrom(0n, 1n, -1n, 7n, 2n ** 53n, 2n ** 53n - 1n, -(2n ** 53n) + 1n, 2n ** 62n),
  fc.constantFrom(2n ** 63n - 1n, -(2n ** 63n)),
  fc.bigInt({ min: -1000n, max: 1000n }),
  fc.constantFrom(0, -0, 0.5, -2.5, 1e300, Number.NaN, Number.POSITIVE_INFINITY),
);
const others = fc.constantFrom<AnyValue | undefined>(
  undefined,
  { kind: "string", value: "7" },
  { kind: "bool", value: true },
  { kind: "array", values: [{ kind: "int", value: 7n }] },
);
const value: fc.Arbitrary<AnyValue | undefined> = fc.oneof(
  {
    weight: 8,
    arbitrary: numbers.map((one): AnyValue => {
      return typeof one === "bigint" ? { kind: "int", value: one } : { kind: "double", value: one };
    }),
  },
  { weight: 2, arbitrary: others },
);

const operand = fc.constantFrom(
  "span.a",
  "span.b",
  "duration",
  "-span.a",
  "-duration",
  "2",
  "0",
  "1.5",
  "10ns",
  "9007199254740991",
  "9223372036854775807",
  "(span.a - span.b)",
  "(span.b * 3)",
  "(duration / 4)",
);
const operator = fc.constantFrom("+", "-", "*", "/", "%", "^");
const comparison = fc.constantFrom("=", "!=", "<", "<=", ">", ">=");
const condition = fc
  .tuple(operand, operator, operand, comparison, operand)
  .map(([a, op, b, compare, c]) => `{ ${a} ${op} ${b} ${compare} ${c} }`);

const spans = fc.array(
  fc.record({ a: value, b: value, durationNano: fc.constantFrom(0n, 1n, 8n, 1000n, 2n ** 55n) }),
  { minLength: 1, maxLength: 12 },
);

interface Spec {
  a: AnyValue | undefined;
  b: AnyValue | undefined;
  durationNano: bigint;
}

function batchOf(values: readonly Spec[]): ColumnBatch {
  const data = traceDataOf(
    values.map(({ durationNano }, i) => ({
      traceId: "0".repeat(31) + "1",
      spanId: (i + 1).toString(16).padStart(16, "0"),
      startNano: 1000n,
      endNano: 1000n + durationNano,
    })),
  );
  const all = data.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans[0].spans);
  values.forEach(({ a, b }, i) => {
    if (a !== undefined) all[i].attributes.push({ key: "a", value: a });
    if (b !== undefined) all[i].attributes.push({ key: "b", value: b });
  });
  return batchOfHead(headOfRecord(encodeTraceData(data)));
}

function conditionOf(text: string): FieldExpr | undefined {
  try {
    const { body } = parseQuery(text);
    const [stage] = body.kind === "pipeline" ? body.stages : [];
    return stage.kind === "filter" ? stage.expr : undefined;
  } catch {
    // Types that never fit, constants beyond 64 bits.
    return undefined;
  }
}

/** The rows that match, or the error. */
function outcomeOf(run: () => number[]): unknown {
  try {
    return run();
  } catch (error) {
    return (error as Error).message;
  }
}

it("arithmetic on columns equals arithmetic by row, at the limits of all types", () => {
  const seen = { hits: 0, nothing: 0, error: 0 };
  fc.assert(
    fc.property(spans, condition, (values, text) => {
      const expr = conditionOf(text);
      if (expr === undefined) return;
      const batch = batchOf(values);
      const rows = new RowEvaluator(batch);
      const byRow = outcomeOf(() => values.map((_, row) => (rows.holds(expr, row) ? 1 : 0)));
      expect(outcomeOf(() => [...evaluateFilter(batch, expr)])).toEqual(byRow);
      if (typeof byRow === "string") seen.error++;
      else if ((byRow as number[]).includes(1)) seen.hits++;
      else seen.nothing++;
    }),
    { numRuns: 3000 },
  );
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(200);
});
