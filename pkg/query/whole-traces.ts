/**
 * Traces that must be looked at whole: they lie in several shards and the condition is about the
 * whole trace, or a span of theirs may have come twice. Their spans are fetched as columns, joined,
 * and evaluated together, many traces at a time.
 */
import type { TraceDetailsRequest } from "#pkg/api/api.ts";
import { type BatchData, bytesOfData } from "#pkg/columns/columns.ts";
import { joinedColumns, type TraceSpans } from "#pkg/engine/engine.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { RequestOf } from "#pkg/questions/questions.ts";
import type { KnownTrace, ShardState } from "./candidates.ts";
import type { WholeTraces } from "./evaluate-whole.ts";
import type { MergedTrace } from "./merge-details.ts";
import type { SearchQuery } from "./search-query.ts";
import { failureOf, traceTooLarge } from "./trace-by-id.ts";
import type { Failure } from "./view.ts";

/** A trace to be looked at whole. */
export interface WholeTrace {
  trace: KnownTrace;
  /** Shards that have spans of it, and how many these are together. */
  holders: ShardState[];
  spans: number;
  hasRepeats: boolean;
}

/** What a shard is asked, and the traces that it is asked for. */
export interface SpansAsk {
  state: ShardState;
  traces: KnownTrace[];
  request: RequestOf<"spans">;
}

export interface WholeTracesOptions {
  query: SearchQuery;
  /** Asks all; shards that fail are not told. */
  ask: (
    asks: readonly SpansAsk[],
    take: (ask: SpansAsk, answer: TraceSpans) => void,
  ) => Promise<void>;
  evaluate: WholeTraces;
  /** Of the columns that are joined at a time. */
  bytesMax: number;
  fail: (failure: Failure) => void;
}

/** Spans that are joined at a time; those of one trace are joined whatever they are. */
const joinSpansMax = 20_000;

/** Columns of some traces, and the traces of which some are missing. */
interface Fetched {
  parts: BatchData[];
  /** They did not fit. */
  cut: Set<KnownTrace>;
  /** A shard could not be read. */
  failed: Set<KnownTrace>;
}

/**
 * Details of the traces, by id; those are missing of which no span is in the range, which could not
 * be read, or which are too large.
 */
export async function detailsOfWhole(
  traces: readonly WholeTrace[],
  options: WholeTracesOptions,
): Promise<Map<string, MergedTrace>> {
  const found = new Map<string, MergedTrace>();
  const add = (some: readonly MergedTrace[]): void => {
    for (const one of some) found.set(one.traceId, one);
  };
  for (const hasRepeats of [false, true]) {
    const own = traces.filter((one) => one.hasRepeats === hasRepeats);
    for (const some of inChunks(own)) {
      const fetched = await fetchSpans(some, options, hasRepeats);
      const { cut, failed } = fetched;
      const ready = some.filter(({ trace }) => !cut.has(trace) && !failed.has(trace));
      add(await evaluated(ready, fetched.parts, options, hasRepeats));
      for (const one of some.filter(({ trace }) => cut.has(trace) && !failed.has(trace))) {
        const parts = await fetchOne(one, options);
        if (parts !== undefined) add(await evaluated([one], parts, options, hasRepeats));
      }
    }
  }
  return found;
}

function* inChunks(traces: readonly WholeTrace[]): IterableIterator<WholeTrace[]> {
  let open: WholeTrace[] = [];
  let spans = 0;
  for (const one of traces) {
    if (open.length > 0 && spans + one.spans > joinSpansMax) {
      yield open;
      open = [];
      spans = 0;
    }
    open.push(one);
    spans += one.spans;
  }
  if (open.length > 0) yield open;
}

function idsOf(traces: readonly KnownTrace[]): Uint8Array {
  return new Uint8Array(Buffer.from(traces.map(({ id }) => id).join(""), "hex"));
}

function requestFor(
  traces: readonly KnownTrace[],
  { query }: WholeTracesOptions,
  { hasRepeats, bytesMax }: { hasRepeats: boolean; bytesMax: number },
): RequestOf<"spans"> {
  const { startNano, endNano, plan } = query;
  const range = { startNano, endNano };
  // Whether two spans are one, all columns tell.
  const columns = hasRepeats ? undefined : joinedColumns(plan);
  return { ids: idsOf(traces), columns, range, bytesMax };
}

/** Asks all shards of the traces at the same time. */
async function fetchSpans(
  traces: readonly WholeTrace[],
  options: WholeTracesOptions,
  hasRepeats: boolean,
): Promise<Fetched> {
  const byState = new Map<ShardState, KnownTrace[]>();
  for (const { trace, holders } of traces) {
    for (const state of holders) {
      const own = byState.get(state);
      if (own === undefined) byState.set(state, [trace]);
      else own.push(trace);
    }
  }
  const bytesMax = Math.floor(options.bytesMax / Math.max(1, byState.size));
  const asks = [...byState].map(([state, own]): SpansAsk => {
    return { state, traces: own, request: requestFor(own, options, { hasRepeats, bytesMax }) };
  });
  const unread = new Set(asks);
  const fetched: Fetched = { parts: [], cut: new Set(), failed: new Set() };
  await options.ask(asks, (ask, { batch, answered }) => {
    unread.delete(ask);
    fetched.parts.push(batch);
    for (const trace of ask.traces.slice(answered)) fetched.cut.add(trace);
  });
  for (const ask of unread) for (const trace of ask.traces) fetched.failed.add(trace);
  return fetched;
}

/** Asks one shard after the other for one trace; undefined, and a failure, if it is too large. */
async function fetchOne(
  { trace, holders, hasRepeats }: WholeTrace,
  options: WholeTracesOptions,
): Promise<BatchData[] | undefined> {
  const parts: BatchData[] = [];
  let leftBytes = options.bytesMax;
  let isWhole = true;
  for (const state of holders) {
    let isTaken = false;
    const request = requestFor([trace], options, { hasRepeats, bytesMax: leftBytes });
    await options.ask([{ state, traces: [trace], request }], (_, { batch, answered }) => {
      isTaken = true;
      leftBytes -= bytesOfData(batch);
      parts.push(batch);
      if (answered > 0 && leftBytes >= 0) return;
      isWhole = false;
      const bound = `more than ${options.bytesMax} bytes`;
      const message = `a trace is too large to compare its spans: ${bound}`;
      const error = new SpoorError("TooLarge", message, { reason: traceTooLarge });
      options.fail(failureOf(error, state.shard.name));
    });
    if (!isTaken) isWhole = false;
    if (!isWhole) return undefined;
  }
  return parts;
}

async function evaluated(
  traces: readonly WholeTrace[],
  parts: BatchData[],
  { query, evaluate }: WholeTracesOptions,
  hasRepeats: boolean,
): Promise<MergedTrace[]> {
  if (traces.length === 0) return [];
  const { startNano, endNano, spansPerTrace, plan } = query;
  const ids = idsOf(traces.map(({ trace }) => trace));
  const request: TraceDetailsRequest = { startNano, endNano, ids, spansPerTrace, plan };
  return await evaluate({ parts, request, hasRepeats }, query.signal);
}
