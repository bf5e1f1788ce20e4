/**
 * Finds the newest traces of a time range, exactly: the answer is a function of the spans that
 * overlap the range, whatever heads, row groups and blocks they are in. With a filter, those traces
 * of which at least one of these spans matches.
 *
 * Every shard (a head or a row group) has a frontier: no trace that it has not listed yet comes
 * before it in the order of the answer (newest start first, then by id). A trace that is known from
 * one shard may start earlier in another one, so what is known is an upper bound until all shards
 * that may hold the trace were asked ("resolved").
 *
 *     known:   t1 ✓ | t2 ✓ | t3 ? | t4 ...      ✓ resolved   ? may still move to the right
 *     shards:            ^frontier of A   ^frontier of B
 *
 * First shards are listed until the first `limit` known traces are before every frontier; then
 * those of them that are not resolved are; if one has moved, it starts again.
 */
import type { Shard, TimeRange } from "#pkg/api/query.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { partitionOf } from "#pkg/otlp/trace-hash.ts";
import type { FieldExpr } from "#pkg/traceql/ast.ts";
import type { MergedTrace } from "./details-of-trace.ts";
import { mergeDetails } from "./merge-details.ts";
import { failureOf } from "./trace-by-id.ts";
import { type Failure, forEachBounded, openView, type Spans, throwIfEnded } from "./view.ts";

export interface SearchQuery extends TimeRange {
  tenant: string;
  /** Most traces to return. */
  limit: number;
  spansPerTrace: number;
  /** The condition that at least one span of a trace must satisfy; undefined: none. */
  filter?: FieldExpr;
  signal: AbortSignal;
}

export interface SearchStats {
  inspectedTraces: number;
  inspectedSpans: number;
  inspectedBytes: number;
  totalBlocks: number;
  totalBlockBytes: number;
  totalJobs: number;
  completedJobs: number;
}

export interface SearchResult {
  /** Newest start first, ties by id. */
  traces: MergedTrace[];
  stats: SearchStats;
  /** What could not be read. */
  failures: Failure[];
  /** Nothing of the blocks could be read, not even which there are. */
  isStoredMissing: boolean;
}

export interface SearchOptions {
  /** Shards asked at a time. */
  concurrency: number;
}

/**
 * Throws Canceled or Timeout when the signal aborts, and InvalidInput for a filter that the spans
 * make impossible; all else is in `failures`.
 */
export async function searchNewest(
  spans: Spans,
  query: SearchQuery,
  options: SearchOptions,
): Promise<SearchResult> {
  const view = await openView(spans, query.tenant, query.signal);
  try {
    const blocks = view.blocks.filter((block) => overlaps(block, query));
    const shards = [...view.heads, ...blocks.flatMap((block) => block.shards)].filter((shard) =>
      overlaps(shard, query),
    );
    const search = new Search(shards, query, options.concurrency);
    const traces = await search.run();
    const failedShards = search.shards.filter(({ isFailed }) => isFailed).length;
    const totalJobs = shards.length + view.failures.length;
    return {
      traces,
      stats: {
        ...search.inspected(),
        totalBlocks: blocks.length,
        totalBlockBytes: blocks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        totalJobs,
        completedJobs: shards.length - failedShards,
      },
      failures: [...view.failures, ...search.failures],
      isStoredMissing: view.isStoredMissing,
    };
  } finally {
    view.release();
  }
}

function overlaps(
  times: { minStartNano: bigint; maxEndNano: bigint },
  { startNano, endNano }: TimeRange,
): boolean {
  return times.minStartNano < endNano && times.maxEndNano >= startNano;
}

/** A place in the order of the answer: newest start first, then by id. */
interface Place {
  startNano: bigint;
  /** 32 hex digits; "" comes before all. */
  id: string;
}

interface Candidate extends Place {
  /** Shards that have listed it. */
  readonly seenIn: Set<ShardState>;
  trace: MergedTrace | undefined;
}

class ShardState {
  readonly shard: Shard;
  /** Undefined: all of its traces are known. */
  frontier: Place | undefined;
  nextLimit: number;
  isFailed = false;

  constructor(shard: Shard, { endNano, limit }: SearchQuery) {
    this.shard = shard;
    // A span that overlaps the range starts before its end.
    const latest = shard.maxStartNano < endNano ? shard.maxStartNano : endNano - 1n;
    this.frontier = { startNano: latest, id: "" };
    this.nextLimit = limit;
  }
}

/** How much more a shard is asked for, each time that its list was too short. */
const limitGrowth = 4;
/** Shards listed at first; then twice as many each time, so that a long range reads little. */
const firstWave = 4;

class Search {
  readonly shards: readonly ShardState[];
  readonly failures: Failure[] = [];
  readonly #query: SearchQuery;
  readonly #concurrency: number;
  readonly #known = new Map<string, Candidate>();
  #inspectedSpans = 0;
  #inspectedBytes = 0;

  constructor(shards: readonly Shard[], query: SearchQuery, concurrency: number) {
    this.shards = shards.map((shard) => new ShardState(shard, query));
    this.#query = query;
    this.#concurrency = concurrency;
  }

  async run(): Promise<MergedTrace[]> {
    const { limit, signal } = this.#query;
    for (let wave = firstWave; ;) {
      throwIfEnded(signal);
      const top = [...this.#known.values()].sort(comparePlaces).slice(0, limit);
      const unclear = this.#unclearShards(top.length < limit ? undefined : top[limit - 1]);
      if (unclear.length > 0) {
        const now = unclear.slice(0, Math.min(wave, this.#concurrency));
        await Promise.all(now.map((state) => this.#list(state)));
        wave *= 2;
        continue;
      }
      const unresolved = top.filter(({ trace }) => trace === undefined);
      if (unresolved.length === 0) return top.map(({ trace }) => trace!);
      await this.#resolve(unresolved);
    }
  }

  inspected(): { inspectedTraces: number; inspectedSpans: number; inspectedBytes: number } {
    return {
      inspectedTraces: this.#known.size,
      inspectedSpans: this.#inspectedSpans,
      inspectedBytes: this.#inspectedBytes,
    };
  }

  /** Shards that may know a trace that comes before `last`, newest first. */
  #unclearShards(last: Place | undefined): ShardState[] {
    return this.shards
      .filter(
        ({ frontier }) =>
          frontier !== undefined && (last === undefined || comparePlaces(last, frontier) > 0),
      )
      .sort((a, b) => comparePlaces(a.frontier!, b.frontier!));
  }

  async #list(state: ShardState): Promise<void> {
    const { startNano, endNano, filter, signal } = this.#query;
    const limit = state.nextLimit;
    try {
      const list = await state.shard.listTraces({ startNano, endNano, limit, filter }, signal);
      this.#inspectedSpans += list.inspectedSpans;
      this.#inspectedBytes += list.inspectedBytes;
      const count = list.startNanos.length;
      const ids = Buffer.from(list.ids.buffer, list.ids.byteOffset, list.ids.length);
      let id = "";
      for (let i = 0; i < count; i++) {
        id = ids.toString("hex", i * 16, i * 16 + 16);
        this.#learn(id, list.startNanos[i], state);
      }
      const isMore = list.truncated && count > 0;
      state.frontier = isMore ? { startNano: list.startNanos[count - 1], id } : undefined;
      state.nextLimit = limit * limitGrowth;
    } catch (error) {
      this.#fail(state, error);
    }
  }

  #learn(id: string, startNano: bigint, state: ShardState): void {
    const known = this.#known.get(id);
    if (known === undefined) {
      this.#known.set(id, { id, startNano, seenIn: new Set([state]), trace: undefined });
      return;
    }
    known.seenIn.add(state);
    // What is resolved has been asked for everywhere: no list can move it.
    if (known.trace === undefined && startNano < known.startNano) known.startNano = startNano;
  }

  #fail(state: ShardState, error: unknown): void {
    throwIfEnded(this.#query.signal);
    // It is the query's fault, not that of the shard.
    if (error instanceof SpoorError && error.reason === "traceql_value") throw error;
    state.isFailed = true;
    state.frontier = undefined;
    this.failures.push(failureOf(error, state.shard.name));
  }

  /** Asks every shard that may hold one of the candidates for what it knows of them. */
  async #resolve(candidates: readonly Candidate[]): Promise<void> {
    const { startNano, endNano, spansPerTrace, filter, signal } = this.#query;
    const found = new Map(candidates.map(({ id }) => [id, mergeDetails(id, spansPerTrace)]));
    await forEachBounded(this.shards, this.#concurrency, async (state) => {
      if (state.isFailed) return;
      try {
        const ids = await this.#idsFor(state, candidates);
        if (ids.length === 0) return;
        const request = { startNano, endNano, ids, spansPerTrace, filter };
        const details = await state.shard.traceDetails(request, signal);
        for (const one of details) found.get(one.traceId)?.add(one, state.shard);
      } catch (error) {
        this.#fail(state, error);
      }
    });
    await forEachBounded(candidates, this.#concurrency, async (candidate) => {
      const merge = found.get(candidate.id)!;
      const trace = await merge.finish(this.#query, (failure) => this.failures.push(failure));
      if (trace === undefined || trace.matchedSpans === 0) {
        // The only shards that have it, or a span of it that matches, failed meanwhile.
        this.#known.delete(candidate.id);
        return;
      }
      candidate.trace = trace;
      candidate.startNano = trace.startNano;
    });
  }

  /** Ids (16 bytes each) of those candidates that the shard may hold. */
  async #idsFor(state: ShardState, candidates: readonly Candidate[]): Promise<Uint8Array> {
    const { shard, frontier } = state;
    const { index, count } = shard.partition;
    const ids: Uint8Array[] = [];
    for (const candidate of candidates) {
      const isSeen = candidate.seenIn.has(state);
      // A shard whose traces are all known has no other ones. With a filter, those without a span
      // that matches are never listed.
      if (!isSeen && frontier === undefined && this.#query.filter === undefined) continue;
      const id = Buffer.from(candidate.id, "hex");
      if (!isSeen) {
        if (partitionOf(id, 0, count) !== index) continue;
        if (!(await shard.mayHoldTrace(id, this.#query.signal))) continue;
      }
      ids.push(id);
    }
    return Buffer.concat(ids);
  }
}

function comparePlaces(a: Place, b: Place): number {
  if (a.startNano !== b.startNano) return a.startNano > b.startNano ? -1 : 1;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
