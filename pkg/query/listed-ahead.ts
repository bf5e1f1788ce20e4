/**
 * Traces that a shard has listed and the search has not looked at yet. A shard is asked for more
 * traces than the search needs, because reading its columns is the main cost. If some of them turn
 * out to start earlier in other shards, the next ones are here already.
 */
import type { TraceList } from "#pkg/api/api.ts";
import { traceIdBytes } from "#pkg/otlp/otlp.ts";
import type { Place } from "./place.ts";

type Pairs = Pick<TraceList, "ids" | "startNanos">;

/** The next traces of a list. */
export interface NextTraces {
  matches: Pairs;
  maybes: Pairs;
  /** The last trace taken from the list; undefined: the shard has no other traces. */
  frontier: Place | undefined;
}

const startBytes = 8;

export class ListedAhead {
  readonly #list: TraceList;
  #maybes: Pairs;
  #at = 0;

  constructor(list: TraceList) {
    this.#list = list;
    this.#maybes = list.maybes ?? { ids: new Uint8Array(0), startNanos: new BigInt64Array(0) };
  }

  /** Bytes of the traces that were not taken yet. */
  get sizeBytes(): number {
    const left = this.#list.startNanos.length - this.#at + this.#maybes.startNanos.length;
    return left * (traceIdBytes + startBytes);
  }

  /** Whether all traces were taken. */
  get isDone(): boolean {
    return this.#at >= this.#list.startNanos.length;
  }

  /** Takes at most `count` traces that match, and the maybes before the last of them. */
  next(count: number): NextTraces {
    const { startNanos, truncated } = this.#list;
    const end = Math.min(this.#at + count, startNanos.length);
    const matches = some(this.#list, this.#at, end);
    this.#at = end;
    const last = end === 0 ? undefined : placeIn(this.#list, end - 1);
    if (!this.isDone) {
      const [maybes, rest] = split(this.#maybes, last!);
      this.#maybes = rest;
      return { matches, maybes, frontier: last };
    }
    const maybes = this.#maybes;
    this.#maybes = some(maybes, 0, 0);
    return { matches, maybes, frontier: truncated ? last : undefined };
  }
}

function some({ ids, startNanos }: Pairs, from: number, to: number): Pairs {
  return {
    ids: ids.subarray(from * traceIdBytes, to * traceIdBytes),
    startNanos: startNanos.subarray(from, to),
  };
}

function placeIn({ ids, startNanos }: Pairs, at: number): Place {
  const id = Buffer.from(ids.subarray(at * traceIdBytes, (at + 1) * traceIdBytes)).toString("hex");
  return { id, startNano: startNanos[at] };
}

/** Splits the traces into those before `last` and the others. */
function split(pairs: Pairs, last: Place): [Pairs, Pairs] {
  const before: number[] = [];
  const after: number[] = [];
  const { ids, startNanos } = pairs;
  const lastId = Buffer.from(last.id, "hex");
  for (let at = 0; at < startNanos.length; at++) {
    const start = startNanos[at];
    const isBefore =
      start === last.startNano
        ? lastId.compare(ids, at * traceIdBytes, (at + 1) * traceIdBytes) > 0
        : start > last.startNano;
    (isBefore ? before : after).push(at);
  }
  return [chosen(pairs, before), chosen(pairs, after)];
}

function chosen({ ids, startNanos }: Pairs, places: readonly number[]): Pairs {
  const out = new Uint8Array(places.length * traceIdBytes);
  const starts = new BigInt64Array(places.length);
  for (let i = 0; i < places.length; i++) {
    const from = places[i] * traceIdBytes;
    for (let at = 0; at < traceIdBytes; at++) out[i * traceIdBytes + at] = ids[from + at];
    starts[i] = startNanos[places[i]];
  }
  return { ids: out, startNanos: starts };
}
