/** Which shards of a search may hold which traces, as far as is known without asking them. */
import { setImmediate } from "node:timers/promises";
import { partitionOf } from "#pkg/otlp/otlp.ts";
import type { ShardRef, StoredSpans } from "#pkg/questions/questions.ts";
import type { KnownTrace, Maybes, ShardState } from "./candidates.ts";
import { idsOfTexts, TraceSet } from "./trace-set.ts";
import { forEachBounded, throwIfEnded } from "./view.ts";

/** Looks into bloom filters before other work has its turn. */
const looksPerTurn = 20_000;

/** What one shard is asked of some traces. */
export interface TracesAsk {
  state: ShardState;
  traces: KnownTrace[];
  /** 16 bytes each. */
  ids: Uint8Array;
}

interface HoldersOptions {
  /** Shards list every trace that they have, as one that matches or as one that may. */
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

  /** Whether no shard has traces that are not known. */
  haveListedAll(): boolean {
    return this.#openShards(false).length === 0;
  }

  /** Shards that cannot hold the trace which the condition names are not asked. */
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

  /** 1 for each of the maybes that a shard which has not listed it may hold as well. */
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
      // Bloom filters are read where they can tell something.
      if (!own.at.some(isUnknown)) return own.at.length;
      const marks = await this.#marksOf(state.shard, own.ids);
      for (let i = marks.indexOf(1); i >= 0; i = marks.indexOf(1, i + 1)) {
        if (isUnknown(own.at[i])) found[own.at[i]] = 1;
      }
      return own.at.length;
    });
    return found;
  }

  /** For each shard, some at a time; other work has its turn after as many looks as are told. */
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

  /** Gives other work its turn. */
  async turn(): Promise<void> {
    await setImmediate();
    throwIfEnded(this.#signal);
  }

  /** Whether the shard has no other traces than those that are known to be in it. */
  #hasListedAll({ frontier, isPruned }: ShardState): boolean {
    return this.#listsAll && frontier === undefined && !isPruned;
  }

  /** Shards that may have traces, or with `withSeen` false: that may have such as are not known. */
  #openShards(withSeen: boolean): ShardState[] {
    return this.#shards.filter(
      (state) => !state.isFailed && !state.isExcluded && (withSeen || !this.#hasListedAll(state)),
    );
  }

  /** Which shards may hold which of the traces; with those that have listed them, or without. */
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

  /** Places of those of the traces that the shard may hold. */
  async #tracesFor(
    state: ShardState,
    { traces, ids }: { traces: readonly KnownTrace[]; ids: Uint8Array },
    withSeen: boolean,
  ): Promise<number[]> {
    const isListed = this.#hasListedAll(state);
    const isUnknown = ({ seenIn }: KnownTrace): boolean =>
      !isListed && !seenIn.includes(state) && !isDisjoint(state, seenIn);
    // Bloom filters are read where they can tell something.
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

  /** 1 for each of the traces that the shard may hold. */
  async #marksOf(shard: ShardRef, ids: Uint8Array): Promise<Uint8Array> {
    // Asking a head costs as much as the answer: it may hold every trace of its partition.
    if (shard.kind === "head") return new Uint8Array(ids.length / 16).fill(1);
    return await this.#stored.mayHold(shard.block, ids, this.#signal);
  }
}

/** Whether a shard that has the trace tells that this one does not. */
function isDisjoint({ shard: { disjoint } }: ShardState, seenIn: readonly ShardState[]): boolean {
  if (disjoint === undefined) return false;
  for (const { shard } of seenIn) if (shard.disjoint === disjoint) return true;
  return false;
}
