/**
 * Test support: compares the engine with the oracle (filter-oracle.ts), for random conditions over
 * random data sets in a head and in a block of several row groups. The seed and the number of a
 * data set determine it.
 */
import { usedArena } from "#pkg/bytes/bytes.testing.ts";
import { cutOptions } from "#pkg/block/block.testing.ts";
import { cutHead } from "#pkg/block/cut.ts";
import { type BlockReader, openBlock } from "#pkg/block/reader.ts";
import type { TagIndex } from "#pkg/block/index/tag-index.ts";
import { type ColumnBatch, columnOf } from "#pkg/columns/column-batch.ts";
import { hasCode } from "#pkg/errors/errors.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { TraceData } from "#pkg/otlp/trace-data.ts";
import { type FieldExpr, parseQuery } from "#pkg/traceql/traceql.ts";
import { evaluateFilter, filterColumns } from "#pkg/engine/condition/filter.ts";
import { oracleHolds, OracleError, type WholeSpan } from "./filter-oracle.ts";
import { mayMatch, pruneKeys } from "#pkg/engine/condition/prune.ts";
import {
  filterIntrinsics,
  opsOfType,
  type Random,
  randomCondition,
  randomFrom,
  randomSpans,
  scopePrefixes,
} from "./random-filter.ts";
import { namesWholeTrace, spanPart } from "#pkg/engine/condition/span-part.ts";
import { batchOfHead, headOfRecord } from "./spans.ts";
import { matchRows } from "#pkg/engine/trace/traces.ts";

/** Parses a condition; returns undefined if its types contradict each other. */
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

/** Returns a valid random condition and its text. */
export function randomExpr(random: Random): { text: string; expr: FieldExpr } {
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

/** Returns the span ids of the hits, or "error" if the condition cannot be evaluated. */
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

/** Returns a batch with only the named columns. */
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
  // For a batch, a trace consists of the spans in this batch.
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

/** Records the pairs that a condition covers: `<op> <type of the literal> <scope or intrinsic>`. */
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

/** Returns all valid combinations of operator, type of a literal, and scope or intrinsic. */
export function allPairs(): string[] {
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

export interface OracleRun {
  seed: number;
  /** Data sets [from, to). */
  from: number;
  to: number;
  queriesPerSet: number;
}

export interface OracleOutcome {
  /** Combinations that were covered, see `allPairs`. */
  covered: Set<string>;
  hits: number;
  nothing: number;
  error: number;
  /** Row groups tested, and how many of them the tag index pruned. */
  groups: number;
  pruned: number;
}

/** Throws if engine and oracle disagree or pruning loses a span; the message has the seed. */
export async function checkAgainstOracle(run: OracleRun): Promise<OracleOutcome> {
  const covered = new Set<string>();
  const outcome = { covered, hits: 0, nothing: 0, error: 0, groups: 0, pruned: 0 };
  for (let set = run.from; set < run.to; set++) {
    const random = randomFrom(run.seed * 1_000_003 + set);
    const dataSet = await dataSetOf(random);
    for (let i = 0; i < run.queriesPerSet; i++) {
      const { text, expr } = randomExpr(random);
      notePairs(expr, covered);
      const where = `SEED=${run.seed}, data set ${set}, query { ${text} }`;
      checkHead(dataSet, { expr, where }, outcome);
      checkGroups(dataSet, { expr, where }, outcome);
      if (i < 2) await checkProjection(dataSet.block, { expr, where });
    }
    dataSet.block.close();
  }
  return outcome;
}

interface Asked {
  expr: FieldExpr;
  where: string;
}

interface DataSet {
  spans: ReadonlyMap<bigint, WholeSpan>;
  head: ColumnBatch;
  headIds: BigInt64Array;
  block: BlockReader;
  groups: { batch: ColumnBatch; ids: BigInt64Array; tags: TagIndex }[];
}

async function dataSetOf(random: Random): Promise<DataSet> {
  const data = randomSpans(random);
  const head = batchOfHead(headOfRecord(encodeTraceData(data)));
  const block = await blockOf(data, random);
  const groups = await Promise.all(
    block.rowGroups.map(async (_, group) => {
      const batch = await block.readRowGroup(group);
      return { batch, ids: idsOf(batch), tags: await block.tags(group) };
    }),
  );
  return { spans: wholeSpans(data), head, headIds: idsOf(head), block, groups };
}

function checkHead({ spans, head, headIds }: DataSet, asked: Asked, outcome: OracleOutcome): void {
  const { expr, where } = asked;
  const expected = oracleAnswer(headIds, spans, expr);
  requireSame(engineAnswer(head, headIds, expr), expected, where);
  outcome[expected === "error" ? "error" : expected === "" ? "nothing" : "hits"]++;
  const part = spanPart(expr);
  if (part === undefined || part === expr || expected === "error") return;
  const ofPart = new Set(oracleAnswer(headIds, spans, part).split(" "));
  const lost = expected.split(" ").filter((id) => id !== "" && !ofPart.has(id));
  requireSame(lost.join(" "), "", `span part of ${where}`);
}

function checkGroups({ spans, groups }: DataSet, asked: Asked, outcome: OracleOutcome): void {
  const { expr, where } = asked;
  for (const [group, { batch, ids, tags }] of groups.entries()) {
    const expected = oracleAnswer(ids, spans, expr);
    requireSame(engineAnswer(batch, ids, expr), expected, `${where}, row group ${group}`);
    if (!namesWholeTrace(expr)) {
      const hitIds = (): bigint[] => {
        const hits = evaluateFilter(batch, expr, undefined, usedArena());
        return [...ids].filter((_, row) => hits[row] === 1);
      };
      requireSame(answerOf(hitIds), expected, `used arena: ${where}, row group ${group}`);
    }
    outcome.groups++;
    // The entries of the condition's keys alone lead to the same decision.
    const keys = pruneKeys(expr);
    const few = { ...tags, entries: tags.entries.filter(({ key }) => keys.includes(key)) };
    const isPruned = !mayMatch(tags, expr);
    requireSame(String(!mayMatch(few, expr)), String(isPruned), `few entries: ${where}`);
    if (!isPruned) continue;
    outcome.pruned++;
    if (expected !== "error") requireSame(expected, "", `pruned: ${where}`);
  }
}

/** Checks that reading only the named columns leads to the same hits as reading all columns. */
async function checkProjection(block: BlockReader, { expr, where }: Asked): Promise<void> {
  const whole = await block.readRowGroup(0);
  const named = await block.readRowGroup(0, filterColumns(expr));
  const ids = idsOf(whole);
  const hits = (batch: ColumnBatch): string =>
    answerOf(() => {
      const mask = matchRows(batch, expr, allRows(batch)).hits;
      return [...ids].filter((_, row) => mask[row] === 1);
    });
  requireSame(hits(named), hits(whole), `projected: ${where}`);
}

function requireSame(found: string, expected: string, where: string): void {
  if (found === expected) return;
  throw new Error(`${where}: the engine finds "${found}", the oracle "${expected}"`);
}
