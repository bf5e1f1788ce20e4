/**
 * One search under way.
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
 *
 * A filter that names values of whole traces (`trace:duration`) can be wrong about a trace of which
 * a shard has only a part. Shards list such traces as maybes; those of which no other shard may
 * hold a part are dropped, all others are fetched whole.
 */
import { setImmediate } from "node:timers/promises";
import type { Shard, TraceList } from "#pkg/api/query.ts";
import { mayFail, namesWholeTrace, requiredTraceId, spanPart } from "#pkg/engine/span-part.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { partitionOf } from "#pkg/otlp/trace-hash.ts";
import type { FieldExpr } from "#pkg/traceql/ast.ts";
import {
  Candidates,
  comparePlaces,
  type KnownTrace,
  type Place,
  ShardState,
} from "./candidates.ts";
import type { MergedTrace } from "./details-of-trace.ts";
import { mergeDetails } from "./merge-details.ts";
import type { SearchOptions, SearchQuery } from "./search-query.ts";
import { failureOf } from "./trace-by-id.ts";
import { type Failure, forEachBounded, isQueryFault, throwIfEnded } from "./view.ts";

/** How much more a shard is asked for, each time that its list was too short. */
const limitGrowth = 4;
/** Shards listed at first; then twice as many each time, so that a long range reads little. */
const firstWave = 4;
/** Maybes looked at before other work has its turn. */
const maybesPerTurn = 256;

export class SearchRun {
  readonly shards: readonly ShardState[];
  readonly failures: Failure[] = [];
  readonly #query: SearchQuery;
  readonly #concurrency: number;
  readonly #candidates: Candidates;
  /** The filter names values of whole traces: a part of a trace does not tell. */
  readonly #isWhole: boolean;
  /** What shards are asked; without it where only whole traces can tell. */
  readonly #shardFilter: FieldExpr | undefined;
  /** Shards list every trace that they have, as one that matches or as one that may. */
  readonly #listsAll: boolean;
  #inspectedSpans = 0;
  #inspectedBytes = 0;

  constructor(shards: readonly Shard[], query: SearchQuery, options: SearchOptions) {
    const { filter } = query;
    this.shards = shards.map((shard) => new ShardState(shard, query));
    this.#query = query;
    this.#concurrency = options.concurrency;
    this.#candidates = new Candidates(options.memoryBytesMax);
    this.#isWhole = filter !== undefined && namesWholeTrace(filter);
    // Of a part of a trace, such a filter could be an error that it is not of the whole.
    this.#shardFilter = this.#isWhole && mayFail(filter!) ? undefined : filter;
    this.#listsAll = this.#shardFilter === undefined || spanPart(this.#shardFilter) === undefined;
  }

  async run(): Promise<MergedTrace[]> {
    const { limit, signal } = this.#query;
    await this.#exclude();
    for (let wave = firstWave; ;) {
      throwIfEnded(signal);
      const top = this.#candidates.top(limit);
      const last = top.length < limit ? undefined : top[limit - 1];
      const unclear = this.#unclearShards(last);
      if (unclear.length > 0) {
        const now = unclear.slice(0, Math.min(wave, this.#concurrency));
        await Promise.all(now.map((state) => this.#list(state)));
        wave *= 2;
        continue;
      }
      if (this.#isWhole && (await this.#settleMaybes(last))) continue;
      const unresolved = top.filter(({ trace }) => trace === undefined);
      if (unresolved.length === 0) return top.map(({ trace }) => trace!);
      await this.#resolve(unresolved);
    }
  }

  inspected(): { inspectedTraces: number; inspectedSpans: number; inspectedBytes: number } {
    return {
      inspectedTraces: this.#candidates.size,
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
    const { startNano, endNano, signal } = this.#query;
    const filter = this.#shardFilter;
    const limit = state.nextLimit;
    state.isAsked = true;
    try {
      const list = await state.shard.listTraces({ startNano, endNano, limit, filter }, signal);
      this.#inspectedSpans += list.inspectedSpans;
      this.#inspectedBytes += list.inspectedBytes;
      state.isPruned = list.isPruned === true;
      const last = this.#learn(list, state, true);
      if (list.maybes !== undefined) this.#learn(list.maybes, state, false);
      state.frontier = list.truncated ? last : undefined;
      state.nextLimit = limit * limitGrowth;
    } catch (error) {
      this.#fail(state, error);
    }
  }

  /** Returns the last one of the list. */
  #learn(
    { ids, startNanos }: Pick<TraceList, "ids" | "startNanos">,
    state: ShardState,
    isMatch: boolean,
  ): Place | undefined {
    const bytes = Buffer.from(ids.buffer, ids.byteOffset, ids.length);
    let last: Place | undefined;
    for (let i = 0; i < startNanos.length; i++) {
      last = { id: bytes.toString("hex", i * 16, i * 16 + 16), startNano: startNanos[i] };
      this.#candidates.learn(last, state, isMatch);
    }
    return last;
  }

  /** Shards that cannot hold the trace which the condition names are not asked. */
  async #exclude(): Promise<void> {
    const id = this.#query.filter && requiredTraceId(this.#query.filter);
    if (id === undefined) return;
    await forEachBounded(this.shards, this.#concurrency, async (state) => {
      if (await this.#mayHold(state, id)) return;
      state.isExcluded = true;
      state.frontier = undefined;
    });
  }

  async #mayHold({ shard }: ShardState, id: Uint8Array): Promise<boolean> {
    const { index, count } = shard.partition;
    if (partitionOf(id, 0, count) !== index) return false;
    return await shard.mayHoldTrace(id, this.#query.signal);
  }

  /**
   * Maybes before `last`: those of which another shard may hold a part become candidates, all
   * others match nowhere. True if there is a new candidate.
   */
  async #settleMaybes(last: Place | undefined): Promise<boolean> {
    let isNew = false;
    for (const [i, maybe] of this.#candidates.maybesBefore(last).entries()) {
      if (i % maybesPerTurn === 0) {
        await setImmediate();
        throwIfEnded(this.#query.signal);
      }
      if (await this.#mayBeElsewhere(maybe)) {
        this.#candidates.promote(maybe);
        isNew = true;
      } else this.#candidates.reject(maybe);
    }
    return isNew;
  }

  async #mayBeElsewhere({ id, seenIn }: KnownTrace): Promise<boolean> {
    const bytes = Buffer.from(id, "hex");
    for (const state of this.shards) {
      if (seenIn.has(state) || state.isFailed || state.isExcluded) continue;
      if (isDisjoint(state, seenIn)) continue;
      if (this.#hasListedAll(state)) continue;
      if (await this.#mayHold(state, bytes)) return true;
    }
    return false;
  }

  #fail(state: ShardState, error: unknown): void {
    throwIfEnded(this.#query.signal);
    // It is the query's fault, not that of the shard.
    if (error instanceof SpoorError && isQueryFault(error)) throw error;
    state.isFailed = true;
    state.frontier = undefined;
    this.failures.push(failureOf(error, state.shard.name));
  }

  /** Asks every shard that may hold one of the candidates for what it knows of them. */
  async #resolve(candidates: readonly KnownTrace[]): Promise<void> {
    const { startNano, endNano, spansPerTrace, signal } = this.#query;
    const filter = this.#shardFilter;
    const found = new Map(candidates.map(({ id }) => [id, mergeDetails(id, spansPerTrace)]));
    await forEachBounded(this.shards, this.#concurrency, async (state) => {
      if (state.isFailed) return;
      try {
        const ids = await this.#idsFor(state, candidates);
        if (ids.length === 0) return;
        const request = { startNano, endNano, ids, spansPerTrace, filter };
        const { traces, inspectedBytes } = await state.shard.traceDetails(request, signal);
        this.#inspectedBytes += inspectedBytes;
        for (const one of traces) found.get(one.traceId)?.add(one, state.shard);
      } catch (error) {
        this.#fail(state, error);
      }
    });
    await forEachBounded(candidates, this.#concurrency, async (candidate) => {
      const merge = found.get(candidate.id)!;
      const isUnasked = this.#shardFilter !== this.#query.filter;
      const needsWhole = isUnasked ? "always" : this.#isWhole ? "parts" : "never";
      const trace = await merge.finish({ ...this.#query, needsWhole }, (failure) => {
        this.failures.push(failure);
      });
      if (trace === undefined || trace.matchedSpans === 0) {
        // The only shards that have it, or a span of it that matches, failed meanwhile.
        this.#candidates.reject(candidate);
        return;
      }
      this.#candidates.resolve(candidate, trace);
    });
  }

  /** Whether the shard has no other traces than those that are known to be in it. */
  #hasListedAll({ frontier, isPruned }: ShardState): boolean {
    return this.#listsAll && frontier === undefined && !isPruned;
  }

  /** Ids (16 bytes each) of those candidates that the shard may hold. */
  async #idsFor(state: ShardState, candidates: readonly KnownTrace[]): Promise<Uint8Array> {
    const ids: Uint8Array[] = [];
    if (state.isExcluded) return new Uint8Array(0);
    for (const candidate of candidates) {
      const isSeen = candidate.seenIn.has(state);
      if (!isSeen && (this.#hasListedAll(state) || isDisjoint(state, candidate.seenIn))) continue;
      const id = Buffer.from(candidate.id, "hex");
      if (isSeen || (await this.#mayHold(state, id))) ids.push(id);
    }
    return Buffer.concat(ids);
  }
}

/** Whether a shard that has the trace tells that this one does not. */
function isDisjoint({ shard: { disjoint } }: ShardState, seenIn: ReadonlySet<ShardState>): boolean {
  if (disjoint === undefined) return false;
  for (const { shard } of seenIn) if (shard.disjoint === disjoint) return true;
  return false;
}
