/** Finds which shards of a search may hold which traces, without sending requests to them. */
import { setImmediate } from "node:timers/promises";
import { partitionOf } from "#pkg/otlp/otlp.ts";
import type { ShardRef, StoredSpans } from "#pkg/questions/questions.ts";
import type { KnownTrace, Maybes, ShardState } from "./candidates.ts";
import { idsOfTexts, TraceSet } from "./trace-set.ts";
import { forEachBounded, throwIfEnded } from "./view.ts";

/** Bloom filter lookups before yielding to the event loop. */
const looksPerTurn = 20_000;

/** The traces that one shard is asked for. */
export interface TracesAsk {
  state: ShardState;
  traces: KnownTrace[];
  /** 16 bytes each. */
  ids: Uint8Array;
}

interface HoldersOptions {
  /** Shards list every trace that they have, either as a match or as a maybe. */
  listsAll: boolean;
  concurrency: number;
  signal: AbortSignal;
}

export class Holders {
  readonly #stored: Pick<StoredSpans, "mayHold">;
  readonly #shards: readonly ShardState[];
  readonly #listsAll: boolean;
  readonly #concurrency: number;
  readonly #signal: AbortSignal;
  readonly #counts: ReadonlySet<number>;

  constructor(
    stored: Pick<StoredSpans, "mayHold">,
    shards: readonly ShardState[],
    { listsAll, concurrency, signal }: HoldersOptions,
  ) {
    this.#stored = stored;
    this.#shards = shards;
    this.#listsAll = listsAll;
    this.#concurrency = concurrency;
    this.#signal = signal;
    this.#counts = new Set(shards.map(({ shard }) => shard.partition.count));
  }

  /** Returns whether every shard has listed all its traces. */
  haveListedAll(): boolean {
    return this.#openShards(false).length === 0;
  }

  /** Excludes shards that cannot hold the trace id that the condition names. */
  async exclude(id: Uint8Array | undefined): Promise<void> {
    if (id === undefined) return;
    await forEachBounded(this.#shards, this.#concurrency, async (state) => {
      if (await this.#mayHold(state, id)) return;
      state.isExcluded = true;
      state.frontier = undefined;
    });
  }

  async #mayHold({ shard }: ShardState, id: Uint8Array): Promise<boolean> {
    const { index, count } = shard.partition;
    if (partitionOf(id, 0, count) !== index) return false;
    return (await this.#marksOf(shard, id))[0] === 1;
  }

  /** Marks with 1 each maybe that another shard, one that has not listed it, may hold as well. */
  async mayBeElsewhere({ ids, listedBy }: Maybes): Promise<Uint8Array> {
    const found = new Uint8Array(listedBy.length);
    if (listedBy.length === 0) return found;
    const set = await TraceSet.of(ids, this.#counts);
    await this.#eachBounded(this.#openShards(false), async (state) => {
      const own = set.in(state.shard.partition);
      const isUnknown = (at: number): boolean => {
        const lister = listedBy[at];
        return lister !== state && !isDisjoint(state, [lister]);
      };
      // The bloom filter is read only if the answer depends on it.
      if (!own.at.some(isUnknown)) return own.at.length;
      const marks = await this.#marksOf(state.shard, own.ids);
      for (let i = marks.indexOf(1); i >= 0; i = marks.indexOf(1, i + 1)) {
        if (isUnknown(own.at[i])) found[own.at[i]] = 1;
      }
      return own.at.length;
    });
    return found;
  }

  /**
   * Calls `each` for all shards, some at a time. `each` returns its number of lookups; after
   * `looksPerTurn` of them the event loop gets a turn.
   */
  async #eachBounded(
    states: readonly ShardState[],
    each: (state: ShardState) => Promise<number>,
  ): Promise<void> {
    let looks = 0;
    await forEachBounded(states, this.#concurrency, async (state) => {
      looks += await each(state);
      if (looks < looksPerTurn) return;
      looks = 0;
      await this.turn();
    });
  }

  /** Yields to the event loop. Throws Canceled or Timeout if the query has ended. */
  async turn(): Promise<void> {
    await setImmediate();
    throwIfEnded(this.#signal);
  }

  /** Returns whether the shard has listed all its traces. */
  #hasListedAll({ frontier, isPruned }: ShardState): boolean {
    return this.#listsAll && frontier === undefined && !isPruned;
  }

  /** Returns shards that may have traces. Without `withSeen`: only shards with unlisted traces. */
  #openShards(withSeen: boolean): ShardState[] {
    return this.#shards.filter(
      (state) => !state.isFailed && !state.isExcluded && (withSeen || !this.#hasListedAll(state)),
    );
  }

  /**
   * Returns which shards may hold which of the traces. `withSeen` includes the shards that have
   * listed them.
   */
  async whoMayHold(traces: readonly KnownTrace[], withSeen: boolean): Promise<TracesAsk[]> {
    const open = this.#openShards(withSeen);
    if (traces.length === 0 || open.length === 0) return [];
    const set = await TraceSet.of(idsOfTexts(traces.map(({ id }) => id)), this.#counts);
    const asks: TracesAsk[] = [];
    await this.#eachBounded(open, async (state) => {
      const { at, ids: all } = set.in(state.shard.partition);
      const own = at.map((place) => traces[place]);
      const some = await this.#tracesFor(state, { traces: own, ids: all }, withSeen);
      if (some.length > 0) {
        const ids = Buffer.concat(some.map((i) => all.subarray(i * 16, i * 16 + 16)));
        asks.push({ state, traces: some.map((i) => own[i]), ids });
      }
      return own.length;
    });
    return asks;
  }

  /** Returns the indexes of the traces that the shard may hold. */
  async #tracesFor(
    state: ShardState,
    { traces, ids }: { traces: readonly KnownTrace[]; ids: Uint8Array },
    withSeen: boolean,
  ): Promise<number[]> {
    const isListed = this.#hasListedAll(state);
    const isUnknown = ({ seenIn }: KnownTrace): boolean =>
      !isListed && !seenIn.includes(state) && !isDisjoint(state, seenIn);
    // The bloom filter is read only if the answer depends on it.
    const marks = traces.some(isUnknown) ? await this.#marksOf(state.shard, ids) : undefined;
    const some: number[] = [];
    if (withSeen) {
      traces.forEach(({ seenIn }, i) => {
        if (seenIn.includes(state)) some.push(i);
      });
    }
    if (marks === undefined) return some;
    for (let i = marks.indexOf(1); i >= 0; i = marks.indexOf(1, i + 1)) {
      if (isUnknown(traces[i])) some.push(i);
    }
    return some;
  }

  /** Marks with 1 each trace that the shard may hold. */
  async #marksOf(shard: ShardRef, ids: Uint8Array): Promise<Uint8Array> {
    // Heads have no bloom filter: a check would cost as much as the request that it might save.
    if (shard.kind === "head") return new Uint8Array(ids.length / 16).fill(1);
    return await this.#stored.mayHold(shard.block, ids, this.#signal);
  }
}

/** Returns whether a shard of the same disjoint group has the trace, so this one cannot have it. */
function isDisjoint({ shard: { disjoint } }: ShardState, seenIn: readonly ShardState[]): boolean {
  if (disjoint === undefined) return false;
  for (const { shard } of seenIn) if (shard.disjoint === disjoint) return true;
  return false;
}
