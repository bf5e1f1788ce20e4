import { describe, expect, it } from "vitest";
import { cutOptions } from "#pkg/block/testing.ts";
import { cutHead } from "#pkg/block/cut.ts";
import { type BlockReader, openBlock } from "#pkg/block/reader.ts";
import { type ColumnBatch, columnOf } from "#pkg/columns/columns.ts";
import { hasCode } from "#pkg/errors/errors.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { TraceData } from "#pkg/otlp/otlp.ts";
import { type FieldExpr, parseQuery } from "#pkg/traceql/traceql.ts";
import { filterColumns } from "./filter.ts";
import { oracleHolds, OracleError, type WholeSpan } from "./filter-oracle.ts";
import { mayMatch, pruneKeys } from "./prune.ts";
import {
  filterIntrinsics,
  opsOfType,
  type Random,
  randomCondition,
  randomFrom,
  randomSpans,
  scopePrefixes,
} from "./random-filter.ts";
import { spanPart } from "./span-part.ts";
import { batchOfHead, headOfRecord } from "./testing.ts";
import { matchRows } from "./traces.ts";

const seed = Number(process.env.SEED ?? 1);
const dataSets = Number(process.env.DATA_SETS ?? 200);
const queriesPerSet = 100;

/** The condition of a query that is one filter; undefined if its types contradict each other. */
function conditionOf(text: string): FieldExpr | undefined {
  try {
    const { body } = parseQuery(`{ ${text} }`);
    const [stage] = body.kind === "pipeline" ? body.stages : [];
    if (stage?.kind !== "filter") throw new Error(`not one filter: ${text}`);
    return stage.expr;
  } catch (error) {
    if (hasCode(error, "InvalidInput")) return undefined;
    throw error;
  }
}

function randomExpr(random: Random): { text: string; expr: FieldExpr } {
  for (let attempt = 0; attempt < 100; attempt++) {
    const text = randomCondition(random);
    const expr = conditionOf(text);
    if (expr !== undefined) return { text, expr };
  }
  throw new Error("a hundred random conditions, none of them valid");
}

function wholeSpans(data: TraceData): Map<bigint, WholeSpan> {
  const spans = new Map<bigint, WholeSpan>();
  for (const { resource, scopeSpans } of data.resourceSpans) {
    for (const { scope, spans: own } of scopeSpans) {
      for (const span of own) {
        spans.set(Buffer.from(span.spanId).readBigInt64BE(), { resource, scope, span, trace: [] });
      }
    }
  }
  return spans;
}

/** Span ids of the hits, or that it cannot be evaluated. */
function answerOf(run: () => bigint[]): string {
  try {
    return run()
      .sort((a, b) => Number(a - b))
      .join(" ");
  } catch (error) {
    if (error instanceof OracleError || hasCode(error, "InvalidInput")) return "error";
    throw error;
  }
}

function idsOf(batch: ColumnBatch): BigInt64Array {
  return columnOf(batch, "span_id", "int64")!.values;
}

/** A batch that shows only the named columns. */
function projected(batch: ColumnBatch, names: readonly string[]): ColumnBatch {
  const column = (name: string): ReturnType<ColumnBatch["column"]> =>
    names.includes(name) ? batch.column(name) : undefined;
  return { rows: batch.rows, names: batch.names.filter((name) => names.includes(name)), column };
}

function engineAnswer(batch: ColumnBatch, ids: BigInt64Array, expr: FieldExpr): string {
  return answerOf(() => {
    const { hits } = matchRows(projected(batch, filterColumns(expr)), expr, allRows(batch));
    return [...ids].filter((_, row) => hits[row] === 1);
  });
}

function allRows({ rows }: ColumnBatch): Uint8Array {
  return new Uint8Array(rows).fill(1);
}

function oracleAnswer(
  ids: BigInt64Array,
  spans: ReadonlyMap<bigint, WholeSpan>,
  expr: FieldExpr,
): string {
  // A batch knows of a trace what is in it.
  const known = [...ids].map((id) => spans.get(id)!);
  const byTrace = Map.groupBy(known, ({ span }) => Buffer.from(span.traceId).toString("hex"));
  const traceOf = ({ span }: WholeSpan): WholeSpan[] =>
    byTrace.get(Buffer.from(span.traceId).toString("hex"))!;
  return answerOf(() =>
    [...ids].filter((id) => {
      const whole = spans.get(id)!;
      return oracleHolds(expr, { ...whole, trace: traceOf(whole) });
    }),
  );
}

async function blockOf(data: TraceData, random: Random): Promise<BlockReader> {
  const { bytes } = cutHead(headOfRecord(encodeTraceData(data)), {
    ...cutOptions,
    rowGroupSpans: 1 + Math.floor(random() * 15),
  });
  const store = new MemoryStore();
  await store.put("block", bytes);
  return await openBlock({ store, key: "block", sizeBytes: bytes.length });
}

/** What was asked of what: `<op> <type of the literal> <scope or intrinsic>`. */
function notePairs(expr: FieldExpr, covered: Set<string>): void {
  if (expr.kind === "not" || expr.kind === "negate") notePairs(expr.operand, covered);
  if (expr.kind === "arithmetic") covered.add(`arithmetic ${expr.op}`);
  if (expr.kind === "logical" || expr.kind === "arithmetic" || expr.kind === "comparison") {
    notePairs(expr.left, covered);
    notePairs(expr.right, covered);
  }
  covered.add(expr.kind);
  if (expr.kind !== "comparison" || expr.right.kind !== "static") return;
  const { left, right, op } = expr;
  if (left.kind === "attribute") covered.add(`${op} ${right.static.type} ${left.scope}`);
  if (left.kind === "intrinsic") covered.add(`${op} ${right.static.type} ${left.name}`);
}

function allPairs(): string[] {
  const ofScopes = Object.keys(scopePrefixes).flatMap((scope) =>
    Object.entries(opsOfType).flatMap(([type, ops]) => ops.map((op) => `${op} ${type} ${scope}`)),
  );
  const ofIntrinsics = Object.entries(filterIntrinsics).flatMap(([name, type]) => [
    ...opsOfType[type].map((op) => `${op} ${type} ${name}`),
    `!= nil ${name}`,
  ]);
  const arithmetic = ["+", "-", "*", "/", "%", "^"].map((op) => `arithmetic ${op}`);
  return [...ofScopes, ...ofIntrinsics, ...arithmetic, "not", "negate", "logical"];
}

describe("evaluateFilter", () => {
  it("agrees with the oracle over heads and blocks, and pruning loses nothing", async () => {
    const covered = new Set<string>();
    const outcomes = { hits: 0, nothing: 0, error: 0, pruned: 0, groups: 0 };
    for (let set = 0; set < dataSets; set++) {
      const random = randomFrom(seed * 1_000_003 + set);
      const data = randomSpans(random);
      const spans = wholeSpans(data);
      const head = batchOfHead(headOfRecord(encodeTraceData(data)));
      const headIds = idsOf(head);
      const block = await blockOf(data, random);
      const groups = await Promise.all(
        block.rowGroups.map(async (_, group) => {
          const batch = await block.readRowGroup(group);
          return { batch, ids: idsOf(batch), tags: await block.tags(group) };
        }),
      );
      for (let i = 0; i < queriesPerSet; i++) {
        const { text, expr } = randomExpr(random);
        notePairs(expr, covered);
        const where = `SEED=${seed}, data set ${set}, query { ${text} }`;
        const expected = oracleAnswer(headIds, spans, expr);
        expect(engineAnswer(head, headIds, expr), where).toBe(expected);
        const part = spanPart(expr);
        if (part !== undefined && expected !== "error") {
          const ofPart = oracleAnswer(headIds, spans, part).split(" ");
          expect(ofPart, `span part of ${where}`).toEqual(
            expect.arrayContaining(expected.split(" ").filter((id) => id !== "")),
          );
        }
        outcomes[expected === "error" ? "error" : expected === "" ? "nothing" : "hits"]++;
        for (const [group, { batch, ids, tags }] of groups.entries()) {
          const ofGroup = oracleAnswer(ids, spans, expr);
          expect(engineAnswer(batch, ids, expr), `${where}, row group ${group}`).toBe(ofGroup);
          const isPruned = !mayMatch(tags, expr);
          const keys = pruneKeys(expr);
          const few = tags.entries.filter(({ key }) => keys.includes(key));
          expect(mayMatch({ ...tags, entries: few }, expr), where).toBe(!isPruned);
          if (isPruned && ofGroup !== "error") expect(ofGroup, `pruned: ${where}`).toBe("");
          outcomes.groups++;
          if (isPruned) outcomes.pruned++;
        }
        if (i < 2) await expectProjection(block, { expr, where });
      }
      block.close();
    }
    const missing = allPairs().filter((pair) => !covered.has(pair));
    console.log(
      `filters: seed ${seed}, ${dataSets} data sets x ${queriesPerSet} conditions, ` +
        `${JSON.stringify(outcomes)}, ${allPairs().length - missing.length} of ` +
        `${allPairs().length} pairs of operator, type and scope covered`,
    );
    expect(missing).toEqual([]);
    expect(outcomes.pruned).toBeGreaterThan(0);
  });
});

/** The named columns, read alone from the store, give the same answer as all columns. */
async function expectProjection(
  block: BlockReader,
  { expr, where }: { expr: FieldExpr; where: string },
): Promise<void> {
  const whole = await block.readRowGroup(0);
  const named = await block.readRowGroup(0, filterColumns(expr));
  const ids = idsOf(whole);
  const hits = (batch: ColumnBatch): string =>
    answerOf(() => {
      const mask = matchRows(batch, expr, allRows(batch)).hits;
      return [...ids].filter((_, row) => mask[row] === 1);
    });
  expect(hits(named), where).toBe(hits(whole));
}
