/**
 * The traces that a search knows of: candidates, which will be asked for, and maybes, which match
 * in no shard on its own and may match as a whole.
 */
import type { TimeRange, TraceList } from "#pkg/api/api.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { wordPairs } from "#pkg/columns/columns.ts";
import { traceIdBytes } from "#pkg/otlp/otlp.ts";
import type { ShardRef } from "#pkg/questions/questions.ts";
import type { MergedTrace } from "./merge-details.ts";
import { comparePlaces, type Place } from "./place.ts";
import { ListedAhead, type NextTraces } from "./listed-ahead.ts";
import { TraceTable } from "./trace-table.ts";

export interface KnownTrace extends Place {
  /** In the table of all. */
  readonly place: number;
  /** Shards that have listed it: one, most often. */
  readonly seenIn: ShardState[];
  /** Undefined until all shards that may hold the trace were asked. */
  trace: MergedTrace | undefined;
}

/** Traces that are looked at, at the least: some of them may turn out to start earlier. */
const lookMin = 20;
/** Traces that a shard is asked for at the least, and at the least once it was asked before. */
const askMin = 256;
const askAgainMin = 65_536;
/** How many more traces are looked at each time that those before were too few. */
const limitGrowth = 4;

export class ShardState {
  readonly shard: ShardRef;
  /** Undefined: all of its traces are known. */
  frontier: Place | undefined;
  /** Traces that the search looks at next. */
  nextLimit: number;
  /** Traces that it is asked for when it is asked. */
  askLimit: number;
  /** What it has listed and the search has not looked at. */
  ahead: ListedAhead | undefined;
  isFailed = false;
  /** It was asked for its traces. */
  isAsked = false;
  /** It cannot hold the trace that the condition names. */
  isExcluded = false;
  /** It told from its index alone that nothing in it matches. */
  isPruned = false;

  constructor(shard: ShardRef, { startNano, endNano, limit }: TimeRange & { limit: number }) {
    this.shard = shard;
    const { minStartNano, maxStartNano, maxTraceStartNano = maxStartNano } = shard;
    // Of a trace that begins before the range, any span may be the first one in the range.
    const last = minStartNano >= startNano ? maxTraceStartNano : maxStartNano;
    // A span that overlaps the range starts before its end.
    const latest = last < endNano ? last : endNano - 1n;
    this.frontier = { startNano: latest, id: "" };
    this.nextLimit = Math.max(limit, lookMin);
    this.askLimit = Math.max(limit, askMin);
  }

  /** It has listed traces. */
  take(list: TraceList): void {
    this.ahead = new ListedAhead(list);
    this.askLimit = Math.max(this.askLimit * limitGrowth, askAgainMin);
  }

  /** The next traces of what it has listed; moves the frontier. */
  next(): NextTraces {
    const next = this.ahead!.next(this.nextLimit);
    if (this.ahead!.isDone) this.ahead = undefined;
    this.frontier = next.frontier;
    this.nextLimit *= limitGrowth;
    return next;
  }
}

/** What one known trace takes at the most: its id as text, its places in maps and lists. */
const traceBytes = 400;
/** What a resolved one takes beside that, and each span that is shown of it. */
const detailBytes = 500;
const spanBytes = 300;

/** What share of the memory traces may take that were listed and not looked at. */
const aheadDivisor = 4;

/** States of a trace: it has an object; one shard says that it may match; it does not match. */
const isOpen = 0;
const isMaybe = 1;
const isRejected = 2;

/** Traces of which one shard says that they may match. */
export interface Maybes {
  /** 16 bytes each. */
  ids: Uint8Array;
  listedBy: readonly ShardState[];
  /** In the table of all. */
  places: readonly number[];
}

export class Candidates {
  readonly #table = new TraceTable();
  /** By place in the table, as the next two. */
  #states = new Uint8Array(1024);
  #startNanos = new BigInt64Array(1024);
  /** The same by words: integers of 64 bits would be objects. */
  #startWords = wordPairs(this.#startNanos);
  /** The first shard that has listed it. */
  #listedBy: ShardState[] = [];
  /** Those that have an object. */
  readonly #known = new Map<number, KnownTrace>();
  readonly #candidates = new Set<KnownTrace>();
  readonly #bytesMax: number;
  #detailsBytes = 0;
  #aheadBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** How many traces are known. */
  get size(): number {
    return this.#table.count;
  }

  /** The first of the answer, as far as is known. */
  top(limit: number): KnownTrace[] {
    return [...this.#candidates].sort(comparePlaces).slice(0, limit);
  }

  /** A shard has listed traces; more of them than are looked at now. */
  takeList(state: ShardState, list: TraceList): void {
    state.take(list);
    this.#aheadBytes += state.ahead?.sizeBytes ?? 0;
    this.#learnNext(state);
    if (state.ahead === undefined || this.#aheadBytes <= this.#bytesMax / aheadDivisor) return;
    // No room: the shard will be asked once more.
    this.#aheadBytes -= state.ahead.sizeBytes;
    state.ahead = undefined;
  }

  /** Looks at what some shards have listed already; false if none of them has. */
  takeAhead(states: readonly ShardState[]): boolean {
    const known = states.filter(({ ahead }) => ahead !== undefined);
    for (const state of known) this.#learnNext(state);
    return known.length > 0;
  }

  #learnNext(state: ShardState): void {
    const before = state.ahead?.sizeBytes ?? 0;
    const { matches, maybes } = state.next();
    this.#aheadBytes += (state.ahead?.sizeBytes ?? 0) - before;
    this.learn(matches, state, true);
    this.learn(maybes, state, false);
  }

  /** A shard has listed traces: as such that match, or as such that may. */
  learn(
    { ids, startNanos }: Pick<TraceList, "ids" | "startNanos">,
    state: ShardState,
    isMatch: boolean,
  ): void {
    this.#table.reserve(startNanos.length);
    const words = wordPairs(startNanos);
    for (let i = 0; i < startNanos.length; i++) {
      const count = this.#table.count;
      const place = this.#table.place(ids, i * traceIdBytes);
      if (place === count) {
        this.#add(place, words, i, state);
        // Most of very many: nothing more is to be done for them.
        if (!isMatch) continue;
      }
      if (this.#states[place] === isRejected) continue;
      // A longer list of the same shard tells nothing new of what it has listed before.
      const isKnown = this.#states[place] === isMaybe && this.#listedBy[place] === state;
      if (isKnown && !isMatch) continue;
      const trace = this.#open(place);
      if (!trace.seenIn.includes(state)) trace.seenIn.push(state);
      // What is resolved has been asked for everywhere: no list can move it.
      const isEarlier = trace.trace === undefined && startNanos[i] < trace.startNano;
      if (isEarlier) trace.startNano = startNanos[i];
      // In two shards: only both together tell.
      if (isMatch || trace.seenIn.length > 1) this.promote(trace);
    }
  }

  /** @param words of starts, of which the trace's is number `i`. */
  #add(place: number, words: Int32Array, i: number, state: ShardState): void {
    if (place === this.#states.length) {
      this.#states = grown(this.#states, new Uint8Array(place * 2));
      this.#startNanos = grown(this.#startNanos, new BigInt64Array(place * 2));
      this.#startWords = wordPairs(this.#startNanos);
    }
    this.#states[place] = isMaybe;
    this.#startWords[place * 2] = words[i * 2];
    this.#startWords[place * 2 + 1] = words[i * 2 + 1];
    this.#listedBy.push(state);
    if (this.size % 1024 === 0) this.#checkBytes();
  }

  /** The object of a trace that is not rejected. */
  #open(place: number): KnownTrace {
    const known = this.#known.get(place);
    if (known !== undefined) return known;
    const startNano = this.#startNanos[place];
    const seenIn = [this.#listedBy[place]];
    const trace = { place, id: this.#table.hex(place), startNano, seenIn, trace: undefined };
    this.#states[place] = isOpen;
    this.#known.set(place, trace);
    return trace;
  }

  /** A maybe becomes a candidate. */
  promote(trace: KnownTrace): void {
    this.#candidates.add(trace);
  }

  /** Maybes that would come before `last` in the answer; undefined: all of them. */
  maybesBefore(last: Place | undefined): Maybes {
    const places: number[] = [];
    for (let place = 0; place < this.size; place++) {
      if (this.#isMaybeBefore(place, last)) places.push(place);
    }
    return {
      ids: this.#table.idsOf(places),
      listedBy: places.map((at) => this.#listedBy[at]),
      places,
    };
  }

  /** Those of the maybes that are marked with 1, still maybes; the others do not match. */
  rejectUnmarked({ places }: Maybes, marks: Uint8Array): KnownTrace[] {
    const marked: KnownTrace[] = [];
    places.forEach((place, i) => {
      if (marks[i] === 1) marked.push(this.#open(place));
      else this.#states[place] = isRejected;
    });
    return marked;
  }

  /** The same ones do not match. */
  rejectMaybesBefore(last: Place | undefined): void {
    for (let place = 0; place < this.size; place++) {
      if (this.#isMaybeBefore(place, last)) this.#states[place] = isRejected;
    }
  }

  #isMaybeBefore(place: number, last: Place | undefined): boolean {
    if (this.#states[place] !== isMaybe) return false;
    if (last === undefined) return true;
    const startNano = this.#startNanos[place];
    if (startNano !== last.startNano) return startNano > last.startNano;
    return this.#table.hex(place) < last.id;
  }

  /** The trace does not match: it is not learnt again from a shard that knows a part of it. */
  reject(trace: KnownTrace): void {
    this.#states[trace.place] = isRejected;
    this.#known.delete(trace.place);
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

function grown<T extends Uint8Array | BigInt64Array>(from: T, to: T): T {
  to.set(from as never);
  return to;
}
