/**
 * The traces that a search knows of: candidates, which will be asked for, and maybes, which match
 * in no shard on its own and may match as a whole.
 */
import type { Shard, TimeRange } from "#pkg/api/query.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { MergedTrace } from "./details-of-trace.ts";

/** A place in the order of the answer: newest start first, then by id. */
export interface Place {
  startNano: bigint;
  /** 32 hex digits; "" comes before all. */
  id: string;
}

export function comparePlaces(a: Place, b: Place): number {
  if (a.startNano !== b.startNano) return a.startNano > b.startNano ? -1 : 1;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

export interface KnownTrace extends Place {
  /** Shards that have listed it. */
  readonly seenIn: Set<ShardState>;
  /** Undefined until all shards that may hold the trace were asked. */
  trace: MergedTrace | undefined;
}

export class ShardState {
  readonly shard: Shard;
  /** Undefined: all of its traces are known. */
  frontier: Place | undefined;
  nextLimit: number;
  isFailed = false;
  /** It was asked for its traces. */
  isAsked = false;
  /** It cannot hold the trace that the condition names. */
  isExcluded = false;
  /** It told from its index alone that nothing in it matches. */
  isPruned = false;

  constructor(shard: Shard, { endNano, limit }: TimeRange & { limit: number }) {
    this.shard = shard;
    // A span that overlaps the range starts before its end.
    const latest = shard.maxStartNano < endNano ? shard.maxStartNano : endNano - 1n;
    this.frontier = { startNano: latest, id: "" };
    this.nextLimit = limit;
  }
}

/** What one known trace takes: its id as text, its places in maps, its set. */
const traceBytes = 400;
/** What a resolved one takes beside that, and each span that is shown of it. */
const detailBytes = 500;
const spanBytes = 300;

export class Candidates {
  readonly #known = new Map<string, KnownTrace>();
  readonly #maybes = new Map<string, KnownTrace>();
  readonly #rejected = new Set<string>();
  readonly #bytesMax: number;
  #detailsBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** How many traces are known. */
  get size(): number {
    return this.#known.size + this.#maybes.size + this.#rejected.size;
  }

  /** The first of the answer, as far as is known. */
  top(limit: number): KnownTrace[] {
    return [...this.#known.values()].sort(comparePlaces).slice(0, limit);
  }

  /** A shard has listed a trace: as one that matches, or as one that may. */
  learn(place: Place, state: ShardState, isMatch: boolean): void {
    const { id, startNano } = place;
    if (this.#rejected.has(id)) return;
    const known = this.#known.get(id) ?? this.#maybes.get(id);
    if (known === undefined) {
      const traces = isMatch ? this.#known : this.#maybes;
      traces.set(id, { id, startNano, seenIn: new Set([state]), trace: undefined });
      if (traces.size % 1024 === 0) this.#checkBytes();
      return;
    }
    known.seenIn.add(state);
    // What is resolved has been asked for everywhere: no list can move it.
    if (known.trace === undefined && startNano < known.startNano) known.startNano = startNano;
    // In two shards: only both together tell.
    if (isMatch || known.seenIn.size > 1) this.promote(known);
  }

  /** A maybe becomes a candidate. */
  promote(trace: KnownTrace): void {
    this.#maybes.delete(trace.id);
    this.#known.set(trace.id, trace);
  }

  /** Maybes that would come before `last` in the answer; undefined: all of them. */
  maybesBefore(last: Place | undefined): KnownTrace[] {
    const all = [...this.#maybes.values()];
    return last === undefined ? all : all.filter((one) => comparePlaces(one, last) < 0);
  }

  /** The trace does not match: it is not learnt again from a shard that knows a part of it. */
  reject({ id }: Place): void {
    this.#known.delete(id);
    this.#maybes.delete(id);
    this.#rejected.add(id);
  }

  resolve(known: KnownTrace, trace: MergedTrace): void {
    known.trace = trace;
    known.startNano = trace.startNano;
    this.#detailsBytes += detailBytes + trace.spans.length * spanBytes;
    this.#checkBytes();
  }

  /** Throws InvalidInput when the query would take more memory than it may. */
  #checkBytes(): void {
    const sizeBytes = this.size * traceBytes + this.#detailsBytes;
    if (sizeBytes <= this.#bytesMax) return;
    throw new SpoorError(
      "InvalidInput",
      `the query needs more than ${this.#bytesMax} bytes of memory for its traces: ` +
        "narrow its range or its condition, or ask for fewer traces",
      { reason: "query_memory" },
    );
  }
}
