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
  /** Shards that have listed it: one, most often. */
  readonly seenIn: ShardState[];
  /** Maybes and candidates are told apart by it; what is rejected does not match. */
  kind: "candidate" | "maybe" | "rejected";
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

/** What one known trace takes: its id as text, its places in maps and lists. */
const traceBytes = 400;
/** What a resolved one takes beside that, and each span that is shown of it. */
const detailBytes = 500;
const spanBytes = 300;

export class Candidates {
  readonly #known = new Map<string, KnownTrace>();
  readonly #candidates = new Set<KnownTrace>();
  /** And others that were maybes. */
  #maybes: KnownTrace[] = [];
  readonly #bytesMax: number;
  #detailsBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** How many traces are known. */
  get size(): number {
    return this.#known.size;
  }

  /** The first of the answer, as far as is known. */
  top(limit: number): KnownTrace[] {
    return [...this.#candidates].sort(comparePlaces).slice(0, limit);
  }

  /** A shard has listed a trace: as one that matches, or as one that may. */
  learn({ id, startNano }: Place, state: ShardState, isMatch: boolean): void {
    const known = this.#known.get(id);
    if (known === undefined) {
      this.#add({ id, startNano, seenIn: [state], kind: "maybe", trace: undefined }, isMatch);
      return;
    }
    if (known.kind === "rejected") return;
    if (!known.seenIn.includes(state)) known.seenIn.push(state);
    // What is resolved has been asked for everywhere: no list can move it.
    if (known.trace === undefined && startNano < known.startNano) known.startNano = startNano;
    // In two shards: only both together tell.
    if (isMatch || known.seenIn.length > 1) this.promote(known);
  }

  #add(trace: KnownTrace, isMatch: boolean): void {
    this.#known.set(trace.id, trace);
    if (isMatch) this.promote(trace);
    else this.#maybes.push(trace);
    if (this.#known.size % 1024 === 0) this.#checkBytes();
  }

  /** A maybe becomes a candidate. */
  promote(trace: KnownTrace): void {
    trace.kind = "candidate";
    this.#candidates.add(trace);
  }

  /** Maybes that would come before `last` in the answer; undefined: all of them. */
  maybesBefore(last: Place | undefined): KnownTrace[] {
    this.#maybes = this.#maybes.filter(({ kind }) => kind === "maybe");
    if (last === undefined) return this.#maybes;
    return this.#maybes.filter((one) => comparePlaces(one, last) < 0);
  }

  /** The trace does not match: it is not learnt again from a shard that knows a part of it. */
  reject(trace: KnownTrace): void {
    trace.kind = "rejected";
    trace.seenIn.length = 0;
    this.#candidates.delete(trace);
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
