/**
 * The traces that a search has seen. Candidates are resolved when they come first in the result.
 * Maybes match in no single shard, but may match as a whole.
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
  /** Index in the trace table. */
  readonly place: number;
  /** Shards that have listed it; most often one. */
  readonly seenIn: ShardState[];
  /** Undefined until all shards that may hold the trace were asked. */
  trace: MergedTrace | undefined;
}

/** Traces of a list looked at first, at least: some may turn out to start earlier. */
const lookMin = 20;
/** Least limit of a shard's first list request, and of its later ones. */
const askMin = 256;
const askAgainMin = 65_536;
/** Factor by which limits grow when the traces before were too few. */
const limitGrowth = 4;

export class ShardState {
  readonly shard: ShardRef;
  /** No unlisted trace comes before it. Undefined: there is nothing more to list. */
  frontier: Place | undefined;
  /** Number of listed traces that the search looks at next. */
  nextLimit: number;
  /** Limit of the next list request. */
  askLimit: number;
  /** Traces that it has listed and the search has not looked at. */
  ahead: ListedAhead | undefined;
  isFailed = false;
  /** A list request was sent to it. */
  isAsked = false;
  /** It cannot hold the trace that the condition names. */
  isExcluded = false;
  /** Its index alone showed that nothing in it matches. */
  isPruned = false;

  constructor(shard: ShardRef, { startNano, endNano, limit }: TimeRange & { limit: number }) {
    this.shard = shard;
    const { minStartNano, maxStartNano, maxTraceStartNano = maxStartNano } = shard;
    // If a trace begins before the range, any of its spans may be its first one in the range.
    const last = minStartNano >= startNano ? maxTraceStartNano : maxStartNano;
    // A span that overlaps the range starts before its end.
    const latest = last < endNano ? last : endNano - 1n;
    this.frontier = { startNano: latest, id: "" };
    this.nextLimit = Math.max(limit, lookMin);
    this.askLimit = Math.max(limit, askMin);
  }

  /** Stores the response of a list request. */
  take(list: TraceList): void {
    this.ahead = new ListedAhead(list);
    this.askLimit = Math.max(this.askLimit * limitGrowth, askAgainMin);
  }

  /** Returns the next listed traces and moves the frontier. */
  next(): NextTraces {
    const next = this.ahead!.next(this.nextLimit);
    if (this.ahead!.isDone) this.ahead = undefined;
    this.frontier = next.frontier;
    this.nextLimit *= limitGrowth;
    return next;
  }
}

/** Bytes of one known trace at most: its id as text, its entries in maps and lists. */
const traceBytes = 400;
/** Additional bytes of a resolved trace, and of each of its spans in the result. */
const detailBytes = 500;
const spanBytes = 300;

/** Share of the memory for traces that were listed and not looked at: one part in so many. */
const aheadDivisor = 4;

/** States of a trace: it has an object; one shard listed it as a maybe; it does not match. */
const isOpen = 0;
const isMaybe = 1;
const isRejected = 2;

/** Traces that exactly one shard has listed, as maybes. */
export interface Maybes {
  /** 16 bytes each. */
  ids: Uint8Array;
  listedBy: readonly ShardState[];
  /** Indexes in the trace table. */
  places: readonly number[];
}

export class Candidates {
  readonly #table = new TraceTable();
  /** By index in the table, as are the next three arrays. */
  #states = new Uint8Array(1024);
  #startNanos = new BigInt64Array(1024);
  /** `#startNanos` as pairs of 32-bit words: reading a bigint would allocate. */
  #startWords = wordPairs(this.#startNanos);
  /** The first shard that listed the trace. */
  #listedBy: ShardState[] = [];
  /** Traces that have an object. */
  readonly #known = new Map<number, KnownTrace>();
  readonly #candidates = new Set<KnownTrace>();
  readonly #bytesMax: number;
  #detailsBytes = 0;
  #aheadBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Number of known traces. */
  get size(): number {
    return this.#table.count;
  }

  /** Returns the first candidates in the order of the result, as known so far. */
  top(limit: number): KnownTrace[] {
    return [...this.#candidates].sort(comparePlaces).slice(0, limit);
  }

  /** Takes a shard's list and looks at its first traces; the others stay with the shard. */
  takeList(state: ShardState, list: TraceList): void {
    state.take(list);
    this.#aheadBytes += state.ahead?.sizeBytes ?? 0;
    this.#learnNext(state);
    if (state.ahead === undefined || this.#aheadBytes <= this.#bytesMax / aheadDivisor) return;
    // Over the memory limit: the shard will be asked again.
    this.#aheadBytes -= state.ahead.sizeBytes;
    state.ahead = undefined;
  }

  /** Looks at the next traces that the shards listed before; false if there are none. */
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

  /** Records traces that a shard has listed, as matches or as maybes. */
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
        // Most maybes end here, without an object.
        if (!isMatch) continue;
      }
      if (this.#states[place] === isRejected) continue;
      // A longer list of the same shard repeats the maybes of its shorter list.
      const isKnown = this.#states[place] === isMaybe && this.#listedBy[place] === state;
      if (isKnown && !isMatch) continue;
      const trace = this.#open(place);
      if (!trace.seenIn.includes(state)) trace.seenIn.push(state);
      // All shards were asked for a resolved trace: no list can move it.
      const isEarlier = trace.trace === undefined && startNanos[i] < trace.startNano;
      if (isEarlier) trace.startNano = startNanos[i];
      // A trace in two shards: only its joined spans show whether it matches.
      if (isMatch || trace.seenIn.length > 1) this.promote(trace);
    }
  }

  /** @param words Start times as pairs of 32-bit words; pair `i` is the trace's. */
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

  /** Returns the object of a trace that is not rejected; creates it if needed. */
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

  /** Makes a maybe a candidate. */
  promote(trace: KnownTrace): void {
    this.#candidates.add(trace);
  }

  /** Returns maybes that would come before `last` in the result; undefined: all maybes. */
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

  /** Returns the maybes marked with 1 and rejects the others. */
  rejectUnmarked({ places }: Maybes, marks: Uint8Array): KnownTrace[] {
    const marked: KnownTrace[] = [];
    places.forEach((place, i) => {
      if (marks[i] === 1) marked.push(this.#open(place));
      else this.#states[place] = isRejected;
    });
    return marked;
  }

  /** Rejects the maybes that `maybesBefore` returns. */
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

  /** Rejects a trace: later lists that contain it are ignored for it. */
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

  /** Throws InvalidInput `query_memory` if the traces exceed the memory limit. */
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
