/** Compares the fast computation of tree columns (trace-tree.ts) with the plain one. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { batchOf, type Column, columnOf, valueText } from "#pkg/columns/column-batch.ts";
import { DictBuilder } from "#pkg/columns/dict-builder.ts";
import { treeColumns } from "#pkg/columns/trace-tree.ts";
import { plainTree, type TreeFacts, type TreeSpan } from "./verify-tree.ts";

const small = fc.bigInt({ min: 0n, max: 20n });
const extreme = fc.constantFrom(-(2n ** 63n), 2n ** 63n - 1n, 0n);
const span: fc.Arbitrary<TreeSpan> = fc.record({
  // Few ids: duplicates, cycles, spans that are their own parents.
  id: fc.bigInt({ min: 1n, max: 12n }),
  parentId: fc.oneof(
    { weight: 1, arbitrary: fc.constant(undefined) },
    { weight: 5, arbitrary: fc.bigInt({ min: 1n, max: 14n }) },
  ),
  startNano: fc.oneof({ weight: 9, arbitrary: small }, { weight: 1, arbitrary: extreme }),
  durationNano: fc.oneof({ weight: 9, arbitrary: small }, { weight: 1, arbitrary: extreme }),
  name: fc.constantFrom("a", "b", "c"),
  service: fc.option(fc.constantFrom("x", "y")),
});
/** A tree as most are: one root, every parent comes before. */
const tree: fc.Arbitrary<TreeSpan[]> = fc
  .array(fc.tuple(fc.nat(), span), { minLength: 1, maxLength: 60 })
  .map((spans) =>
    spans.map(([pick, one], i) => ({
      ...one,
      id: BigInt(i + 1),
      parentId: i === 0 ? undefined : BigInt((pick % i) + 1),
    })),
  );
const trace = fc.oneof(tree, fc.array(span, { minLength: 1, maxLength: 20 }));

function texts(values: readonly (string | null)[]): Column {
  const builder = new DictBuilder();
  return builder.column(Int32Array.from(values, (v) => (v === null ? -1 : builder.code(v))));
}

function longs(values: readonly bigint[], valid?: Uint8Array): Column {
  return { kind: "int64", values: BigInt64Array.from(values), valid };
}

/** The tree columns of some traces, as facts per span. */
function fastTree(traces: readonly (readonly TreeSpan[])[]): TreeFacts[] {
  const spans = traces.flat();
  const valid = new Uint8Array((spans.length + 7) >> 3);
  spans.forEach(({ parentId }, i) => {
    if (parentId !== undefined) valid[i >> 3] |= 1 << (i & 7);
  });
  const parents = spans.map(({ parentId }) => parentId ?? 0n);
  const batch = batchOf(
    spans.length,
    new Map<string, Column>([
      ["span_id", longs(spans.map(({ id }) => id))],
      ["parent_span_id", longs(parents, valid)],
      ["start_unix_nano", longs(spans.map(({ startNano }) => startNano))],
      ["duration_nano", longs(spans.map(({ durationNano }) => durationNano))],
      ["name", texts(spans.map(({ name }) => name))],
      ["resource.service.name", texts(spans.map(({ service }) => service))],
    ]),
  );
  const starts = new Uint32Array(traces.length + 1);
  traces.forEach((one, i) => (starts[i + 1] = starts[i] + one.length));
  const out = batchOf(spans.length, treeColumns(batch, starts));
  const int = (name: string, row: number): number => columnOf(out, name, "int32")!.values[row];
  const long = (name: string, row: number): bigint => columnOf(out, name, "int64")!.values[row];
  const text = (name: string, row: number): string | null => {
    const column = columnOf(out, name, "dict");
    const code = column?.codes[row] ?? -1;
    return code < 0 ? null : valueText(column!.dictionary, code);
  };
  return spans.map((_, row) => ({
    nestedLeft: int("nested_left", row),
    nestedRight: int("nested_right", row),
    nestedParent: int("nested_parent", row),
    childCount: int("child_count", row),
    rootName: text("root_name", row),
    rootService: text("root_service", row),
    traceStartNano: long("trace_start_unix_nano", row),
    traceDurationNano: long("trace_duration_nano", row),
  }));
}

const base = { startNano: 5n, durationNano: 2n, name: "n", service: "s" };
const numbers = ({ nestedLeft, nestedRight, nestedParent, childCount }: TreeFacts): number[] => [
  nestedLeft,
  nestedRight,
  nestedParent,
  childCount,
];

describe("tree columns", () => {
  it("are the same by both computations: orphans, cycles, duplicates, many roots", () => {
    fc.assert(
      fc.property(fc.array(trace, { minLength: 1, maxLength: 6 }), (traces) => {
        expect(fastTree(traces)).toEqual(traces.flatMap((spans) => plainTree(spans)));
      }),
      { numRuns: 1000 },
    );
  });

  it("number a tree as drawn", () => {
    //  1 (1,8)      2 (2,5) holds 4 (3,4); 3 (6,7); 9 has a parent that is not here
    const spans: TreeSpan[] = [
      { ...base, id: 1n, parentId: undefined },
      { ...base, id: 2n, parentId: 1n, startNano: 6n },
      { ...base, id: 3n, parentId: 1n, startNano: 7n, durationNano: 10n },
      { ...base, id: 4n, parentId: 2n, startNano: 8n, durationNano: -4n },
      { ...base, id: 9n, parentId: 77n, startNano: 9n },
    ];
    for (const facts of [plainTree(spans), fastTree([spans])]) {
      expect(facts.map(numbers)).toEqual([
        [1, 8, -1, 2],
        [2, 5, 1, 1],
        [6, 7, 1, 0],
        [3, 4, 2, 0],
        [0, 0, 0, 0],
      ]);
      expect(facts[4]).toMatchObject({ rootName: "n", traceStartNano: 5n, traceDurationNano: 12n });
    }
  });

  it("leave cycles, own parents and what hangs below them unconnected", () => {
    const spans: TreeSpan[] = [
      { ...base, id: 1n, parentId: 1n },
      { ...base, id: 2n, parentId: 3n },
      { ...base, id: 3n, parentId: 2n },
      { ...base, id: 4n, parentId: 3n },
      { ...base, id: 5n, parentId: undefined },
      { ...base, id: 6n, parentId: undefined },
    ];
    for (const facts of [plainTree(spans), fastTree([spans])]) {
      expect(facts.map(numbers)).toEqual([
        [0, 0, 0, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 2],
        [0, 0, 0, 0],
        [1, 2, -1, 0],
        [3, 4, -1, 0],
      ]);
    }
  });

  it("go as deep and as wide as a trace does", () => {
    const count = 150_000;
    const chain = Array.from({ length: count }, (_, i): TreeSpan => ({
      ...base,
      id: BigInt(i + 1),
      parentId: i === 0 ? undefined : BigInt(i),
    }));
    const star = chain.map((one, i): TreeSpan => ({ ...one, parentId: i === 0 ? undefined : 1n }));
    for (const [spans, last] of [
      [chain, [count, count + 1, count - 1, 0]],
      [star, [2 * count - 2, 2 * count - 1, 1, 0]],
    ] as const) {
      const fast = fastTree([spans]);
      expect(numbers(fast[count - 1])).toEqual(last);
      const plain = plainTree(spans);
      const differs = fast.findIndex(
        (facts, i) => numbers(facts).join() !== numbers(plain[i]).join(),
      );
      expect(differs).toBe(-1);
    }
  });
});
