/**
 * Traces that must be evaluated as a whole. Their spans lie in several shards, and either the
 * condition needs values of the whole trace, or a span may be a duplicate. Their spans are fetched
 * as columns, joined, and evaluated together, many traces at a time.
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

/** A trace to evaluate as a whole. */
export interface WholeTrace {
  trace: KnownTrace;
  /** Shards that have spans of the trace. */
  holders: ShardState[];
  /** Spans of the trace in all holders. */
  spans: number;
  hasRepeats: boolean;
}

/** A request for spans to one shard, and the traces it is about. */
export interface SpansAsk {
  state: ShardState;
  traces: KnownTrace[];
  request: RequestOf<"spans">;
}

export interface WholeTracesOptions {
  query: SearchQuery;
  /** Sends all requests. `take` is not called for shards that fail. */
  ask: (
    asks: readonly SpansAsk[],
    take: (ask: SpansAsk, answer: TraceSpans) => void,
  ) => Promise<void>;
  evaluate: WholeTraces;
  /** Bytes of the columns that are joined at a time. */
  bytesMax: number;
  fail: (failure: Failure) => void;
}

/** Spans that are joined at a time. All spans of one trace are joined, even if they are more. */
const joinSpansMax = 20_000;

/** Columns of some traces, and the traces whose columns are incomplete. */
interface Fetched {
  parts: BatchData[];
  /** Traces whose spans did not fit into the response. */
  cut: Set<KnownTrace>;
  /** Traces with a shard that could not be read. */
  failed: Set<KnownTrace>;
}

/**
 * Returns details of the traces by id. A trace is missing if no span of it is in the range, if it
 * could not be read, or if it is too large; the latter two are reported as failures.
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
  // All columns are needed to decide whether two spans are duplicates.
  const columns = hasRepeats ? undefined : joinedColumns(plan);
  return { ids: idsOf(traces), columns, range, bytesMax };
}

/** Fetches the spans of the traces from all their shards at the same time. */
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

/**
 * Fetches one trace, one shard after the other. Returns undefined if a shard fails or if the trace
 * is too large; reports a failure for the latter.
 */
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
      const message = `trace ${trace.id} is too large to join its spans: ${bound}`;
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
