/**
 * Runs one search.
 *
 * Every shard (a head or a row group) has a frontier: no trace that it has not listed yet comes
 * before it in the order of the result (newest start first, then by id). A trace that one shard
 * listed may start earlier in another, until all shards that may hold it answered ("resolved").
 *
 *     known:   t1 ✓ | t2 ✓ | t3 ? | t4 ...      ✓ resolved   ? may still move to the right
 *     shards:            ^frontier of A   ^frontier of B
 *
 * Shards are listed until the first `limit` known traces come before every frontier. Then the
 * unresolved ones among them are resolved. If one of them moved, this repeats.
 *
 * If a shard has only a part of a trace, it cannot decide a filter that names values of whole
 * traces (`trace:duration`). It lists such traces as maybes. Bloom filters, and then the ids that
 * shards hold, show which other shards have a part. A maybe without other parts is dropped. The
 * spans of the others are fetched from all their shards and evaluated together.
 *
 * Requests to several row groups travel as one job (shard-jobs.ts); the first jobs are small. Each
 * row group has its own list, frontier and failure, so the result does not depend on the jobs.
 */
import type { QueryPlan, TraceDetails } from "#pkg/api/api.ts";
import { isOfWholeTraces, planForShards } from "#pkg/engine/engine.ts";
import type { ShardRef } from "#pkg/questions/questions.ts";
import { Asker, type StateAsk } from "./asker.ts";
import { Candidates, type KnownTrace, ShardState } from "./candidates.ts";
import { comparePlaces, type Place } from "./place.ts";
import { type WholeTraces, wholeTracesHere } from "./evaluate-whole.ts";
import { Holders } from "./holders.ts";
import { addedUp, hasRepeats, type MergedTrace } from "./merge-details.ts";
import type { SearchOptions, SearchQuery } from "./search-query.ts";
import { type JobBounds, jobsOf } from "./shard-jobs.ts";
import { tracesPerTurn } from "./trace-set.ts";
import { type Spans, throwIfEnded } from "./view.ts";
import { detailsOfWhole, type WholeTrace } from "./whole-traces.ts";

/**
 * Jobs in the first wave. Each wave doubles the number, so that a long range reads little. Once the
 * number reaches the concurrency, the jobs themselves grow.
 */
const firstWave = 4;
/** Spans of the row groups in the first wave: the newest row groups of several partitions. */
const firstWaveSpans = 8192;
/** Share of `jobBytesMax` that a job of the first wave has: one part in so many. */
const firstJobDivisor = 16;

/** Up to this number, maybes become candidates if a bloom filter says so, without a look-up. */
const unaskedMaybesMax = 64;
/** Traces resolved at a time beyond the limit. */
const resolvedAheadMax = 2000;
/** Traces resolved at a time at least, first and after a trace moved: each request is costly. */
const resolvedMin = 20;
const resolvedAgainMin = 128;

/** The parts of one trace in the shards that have it. */
class KnownParts {
  readonly details: TraceDetails[] = [];
  readonly holders: ShardState[] = [];

  add(details: TraceDetails, state: ShardState): void {
    this.details.push(details);
    this.holders.push(state);
  }
}

export class SearchRun {
  readonly shards: readonly ShardState[];
  readonly asker: Asker;
  readonly #query: SearchQuery;
  readonly #concurrency: number;
  readonly #candidates: Candidates;
  /** The plan uses values of whole traces: a part of a trace does not show whether it matches. */
  readonly #isWhole: boolean;
  readonly #plan: QueryPlan | undefined;
  /** The plan that is sent to shards. */
  readonly #shardPlan: QueryPlan | undefined;
  readonly #bounds: JobBounds;
  readonly #wholeTraces: WholeTraces;
  readonly #isEager: boolean;
  readonly #wholeBytesMax: number;
  readonly #holders: Holders;
  #inspectedSpans = 0;
  /** Maybes that became candidates. Most of them do not match. */
  #promoted = 0;

  /** @param spans Access to the shards. */
  constructor(
    spans: Spans,
    shards: readonly ShardRef[],
    query: SearchQuery,
    options: SearchOptions,
  ) {
    const { plan } = query;
    this.#bounds = options;
    this.asker = new Asker(spans, options, query.signal);
    this.#wholeBytesMax = Math.floor(options.memoryBytesMax / 2);
    this.#wholeTraces = options.wholeTraces ?? wholeTracesHere;
    this.shards = shards.map((shard) => new ShardState(shard, query));
    this.#query = query;
    this.#isEager = options.isEager === true;
    this.#concurrency = options.concurrency;
    this.#candidates = new Candidates(options.memoryBytesMax);
    this.#isWhole = isOfWholeTraces(plan);
    this.#plan = plan;
    this.#shardPlan = planForShards(plan);
    const { concurrency } = options;
    const { signal } = query;
    const listsAll = this.#shardPlan?.prefilter === undefined;
    this.#holders = new Holders(spans.stored, this.shards, { listsAll, concurrency, signal });
  }

  /** Yields the traces of the result as they become final, newest first. */
  async *run(): AsyncGenerator<MergedTrace, void> {
    const { limit, signal } = this.#query;
    await this.#holders.exclude(this.#plan?.traceId);
    let resolvedMax = Math.max(limit, resolvedMin);
    let told = 0;
    for (let wave = 0; ;) {
      throwIfEnded(signal);
      const top = this.#candidates.top(limit);
      const last = top.length < limit ? undefined : top[limit - 1];
      const unclear = this.#unclearShards(last);
      if (unclear.length > 0) {
        if (this.#candidates.takeAhead(unclear)) continue;
        const clear = this.#isEager ? clearOf(top, unclear[0]) : [];
        if (await this.#resolveEarly(clear)) continue;
        for (; told < clear.length; told++) yield clear[told].trace!;
        await this.#listWave(this.#firstOf(unclear, top.length, wave), wave++);
        continue;
      }
      if (this.#isWhole && (await this.#settleMaybes(last))) continue;
      if (top.every(({ trace }) => trace !== undefined)) {
        for (; told < top.length; told++) yield top[told].trace!;
        return;
      }
      const most = resolvedMax + this.#promoted;
      const unresolved = this.#candidates.top(most).filter(({ trace }) => !trace);
      await this.#resolve(unresolved);
      // Some may move or not match as a whole, so the next round resolves more of them.
      resolvedMax = Math.max(resolvedMax * 2, resolvedAgainMin);
      resolvedMax = Math.min(resolvedMax, limit + resolvedAheadMax);
    }
  }

  /** Resolves traces that come before all unread traces. True if their order may have changed. */
  async #resolveEarly(clear: readonly KnownTrace[]): Promise<boolean> {
    const last = clear.at(-1);
    if (last === undefined) return false;
    if (this.#isWhole && (await this.#settleMaybes(last))) return true;
    const unresolved = clear.filter(({ trace }) => trace === undefined);
    if (unresolved.length > 0) await this.#resolve(unresolved);
    return unresolved.length > 0;
  }

  inspected(): { inspectedTraces: number; inspectedSpans: number; inspectedBytes: number } {
    return {
      inspectedTraces: this.#candidates.size,
      inspectedSpans: this.#inspectedSpans,
      inspectedBytes: this.asker.readBytes,
    };
  }

  /** Returns shards that may have an unlisted trace before `last`, newest first. */
  #unclearShards(last: Place | undefined): ShardState[] {
    return this.shards
      .filter(
        ({ frontier }) =>
          frontier !== undefined && (last === undefined || comparePlaces(last, frontier) > 0),
      )
      .sort((a, b) => comparePlaces(a.frontier!, b.frontier!));
  }

  /**
   * Returns the newest shards that probably hold enough spans for the missing matches, estimated
   * from the spans inspected so far. The first wave is small. If a later wave starts without any
   * match, it takes all shards.
   */
  #firstOf(unclear: readonly ShardState[], known: number, wave: number): readonly ShardState[] {
    const missing = Math.max(0, this.#query.limit - known);
    const spansPerMatch = known === 0 ? Number.POSITIVE_INFINITY : this.#inspectedSpans / known;
    const wanted = missing === 0 ? 0 : 2 * missing * spansPerMatch;
    let left = wave === 0 ? firstWaveSpans : Math.max(wanted, firstWaveSpans * 4 ** wave);
    const end = unclear.findIndex(({ shard }, i) => {
      // Heads are in memory, and their lists end early (`ListTracesRequest.enough`).
      if (shard.kind === "head") return false;
      left -= shard.spans;
      return left < 0 && i > 0;
    });
    return end < 0 ? unclear : unclear.slice(0, end);
  }

  /** Lists the newest of these shards; later waves list more of them. */
  async #listWave(unclear: readonly ShardState[], wave: number): Promise<void> {
    const { startNano, endNano } = this.#query;
    const plan = this.#shardPlan;
    const asks = unclear.map((state): StateAsk<"list"> => {
      const { shard, askLimit, nextLimit } = state;
      const hasWholeTraces = shard.disjoint !== undefined;
      const limits = { limit: askLimit, enough: nextLimit };
      const request = { startNano, endNano, ...limits, plan, hasWholeTraces };
      return { state, shard: state.shard, request };
    });
    const growth = firstWave * 2 ** wave;
    const share = Math.max(1, growth / this.#concurrency) / firstJobDivisor;
    const jobBytesMax = this.#bounds.jobBytesMax * Math.min(1, share);
    const jobs = jobsOf(asks, { ...this.#bounds, jobBytesMax });
    const now = jobs.slice(0, Math.min(growth, this.#concurrency));
    await Promise.all(
      now.map(async (job) => {
        for (const { state } of job) state.isAsked = true;
        await this.asker.askJob("list", job, ({ state }, list, { isPruned }) => {
          this.#inspectedSpans += list.inspectedSpans;
          state.isPruned = isPruned === true;
          this.#candidates.takeList(state, list);
        });
      }),
    );
  }

  /**
   * Decides the maybes before `last`. A maybe with a part in another shard becomes a candidate; the
   * others are rejected. Returns whether there is a new candidate.
   */
  async #settleMaybes(last: Place | undefined): Promise<boolean> {
    if (this.#holders.haveListedAll()) {
      this.#candidates.rejectMaybesBefore(last);
      return false;
    }
    const all = this.#candidates.maybesBefore(last);
    const maybes = this.#candidates.rejectUnmarked(all, await this.#holders.mayBeElsewhere(all));
    const held = await this.#heldElsewhere(maybes);
    this.#promoted += held.size;
    for (let i = 0; i < maybes.length; i++) {
      if (held.has(maybes[i])) this.#candidates.promote(maybes[i]);
      else this.#candidates.reject(maybes[i]);
      if (i % tracesPerTurn === tracesPerTurn - 1) await this.#holders.turn();
    }
    return held.size > 0;
  }

  /**
   * Returns the traces with a part in a shard that has not listed them. If bloom filters leave only
   * a few traces, these are returned without a look-up: the request for their details decides.
   */
  async #heldElsewhere(traces: readonly KnownTrace[]): Promise<Set<KnownTrace>> {
    const asks = await this.#holders.whoMayHold(traces, false);
    const held = new Set(asks.flatMap((ask) => ask.traces));
    if (held.size <= unaskedMaybesMax) return held;
    held.clear();
    const unasked = asks.map(({ state, ids, ...rest }) => {
      return { ...rest, state, shard: state.shard, request: { ids } };
    });
    await this.asker.askAll("held", unasked, (ask, { marks }) => {
      ask.traces.forEach((trace, i) => {
        if (marks[i] === 1) held.add(trace);
      });
    });
    return held;
  }

  /** Resolves the candidates: asks every shard that may hold one of them for its details. */
  async #resolve(candidates: readonly KnownTrace[]): Promise<void> {
    const { startNano, endNano, spansPerTrace } = this.#query;
    const plan = this.#shardPlan;
    const found = new Map(candidates.map(({ id }) => [id, new KnownParts()]));
    const asks = (await this.#holders.whoMayHold(candidates, true)).map(({ state, ids }) => {
      const request = { startNano, endNano, ids, spansPerTrace, plan };
      return { state, shard: state.shard, request };
    });
    await this.asker.askAll("details", asks, ({ state }, { traces }) => {
      for (const one of traces) found.get(one.traceId)?.add(one, state);
    });
    const wholes = candidates.flatMap((trace) => {
      const { details, holders } = found.get(trace.id)!;
      const isUnasked = plan !== this.#plan;
      const repeats = hasRepeats(details);
      const isWanted = isUnasked || repeats || (this.#isWhole && details.length > 1);
      const spans = details.reduce((sum, { fingerprints }) => sum + fingerprints.length, 0);
      return isWanted ? [{ trace, holders, spans, hasRepeats: repeats }] : [];
    });
    const whole = await this.#detailsOfWhole(wholes);
    for (const candidate of candidates) {
      const { details } = found.get(candidate.id)!;
      // The shards' details do not apply if they were sent a weaker plan.
      const isKnown = details.length > 0 && plan === this.#plan;
      const parts = isKnown ? addedUp(details, spansPerTrace) : undefined;
      const trace = whole.get(candidate.id) ?? parts;
      // It does not match as a whole, or the only shards that have it have failed meanwhile.
      if (trace === undefined || trace.matchedSpans === 0) this.#candidates.reject(candidate);
      else this.#candidates.resolve(candidate, trace);
    }
  }

  async #detailsOfWhole(wholes: readonly WholeTrace[]): Promise<Map<string, MergedTrace>> {
    return await detailsOfWhole(wholes, {
      query: this.#query,
      ask: async (asks, take) => {
        const placed = asks.map((ask) => ({ ...ask, shard: ask.state.shard, ask }));
        await this.asker.askAll("spans", placed, ({ ask }, answer) => take(ask, answer));
      },
      evaluate: this.#wholeTraces,
      bytesMax: this.#wholeBytesMax,
      fail: (failure) => {
        this.asker.failures.push(failure);
      },
    });
  }
}

/** Returns the leading traces of `top`, those before the frontier. */
function clearOf(top: readonly KnownTrace[], { frontier }: ShardState): KnownTrace[] {
  const end = top.findIndex((one) => comparePlaces(one, frontier!) > 0);
  return end < 0 ? [...top] : top.slice(0, end);
}
