/**
 * Makes one request of ranges that are asked for at the same time and lie beside each other, and
 * one of the same range that is asked for while it is on its way.
 *
 *     asked in one turn:   [ a ] [ b ]      [ c ]          asked a moment later:  [ b ]
 *     requests:            [    a+b   ]     [ c ]                                 waits for a+b
 */
import { hasCode } from "#pkg/errors/errors.ts";
import { abortable, checkRange, copyOf } from "./checks.ts";
import type { StoreLedger } from "./ledger.ts";
import type { ObjectStore, ReadOptions } from "./objstore.ts";
import { PassingStore } from "./passing.ts";

export interface CoalesceOptions {
  /** Ranges closer than this are read together. */
  gapBytes: number;
  /** No request is made longer than this by joining. */
  requestBytesMax: number;
  ledger: StoreLedger;
}

/** A range that is on its way, and who waits for a part of it. */
interface Flight {
  start: number;
  end: number;
  bytes: Promise<Uint8Array>;
  abort: AbortController;
  /** Who asked, and who of them still waits. */
  askers: number;
  waiting: number;
}

interface Asked {
  start: number;
  end: number;
  flight: PromiseWithResolvers<Flight>;
}

export function coalesceStore(store: ObjectStore, options: CoalesceOptions): ObjectStore {
  return new CoalescingStore(store, options);
}

class CoalescingStore extends PassingStore {
  readonly #options: CoalesceOptions;
  /** Key -> ranges asked for in this turn of the event loop. */
  readonly #asked = new Map<string, Asked[]>();
  readonly #flights = new Map<string, Set<Flight>>();

  constructor(store: ObjectStore, options: CoalesceOptions) {
    super(store);
    this.#options = options;
  }

  override async getRange(
    key: string,
    start: number,
    end: number,
    options: ReadOptions = {},
  ): Promise<Uint8Array> {
    checkRange(key, start, end);
    // An aborted call, or a bad key, is the store's to refuse.
    const isAlone = options.signal?.aborted === true || options.isFresh === true;
    if (isAlone) return await this.store.getRange(key, start, end, options);
    const flight = this.#find(key, start, end) ?? (await this.#ask(key, start, end));
    const isExact = flight.start === start && flight.end === end;
    try {
      const attempt = `read bytes ${start} to ${end} of object ${key}`;
      const bytes = await abortable(flight.bytes, options.signal, attempt);
      // Callers own what they get.
      const isMine = isExact && flight.askers === 1;
      return isMine ? bytes : copyOf(bytes, start - flight.start, end - flight.start);
    } catch (error) {
      // The object may end before another's part of the request.
      if (isExact || !hasCode(error, "Corrupt")) throw error;
      return await this.store.getRange(key, start, end, options);
    } finally {
      flight.waiting--;
      if (flight.waiting === 0) flight.abort.abort();
    }
  }

  /** A request under way that brings the range. */
  #find(key: string, start: number, end: number): Flight | undefined {
    for (const flight of this.#flights.get(key) ?? []) {
      if (flight.start > start || flight.end < end) continue;
      this.#options.ledger.addEvent("shared");
      flight.askers++;
      flight.waiting++;
      return flight;
    }
    return undefined;
  }

  async #ask(key: string, start: number, end: number): Promise<Flight> {
    const flight = Promise.withResolvers<Flight>();
    let asked = this.#asked.get(key);
    if (asked === undefined) {
      asked = [];
      this.#asked.set(key, asked);
      setImmediate(() => this.#depart(key));
    }
    asked.push({ start, end, flight });
    return await flight.promise;
  }

  #depart(key: string): void {
    const asked = this.#asked.get(key) ?? [];
    this.#asked.delete(key);
    const { gapBytes, requestBytesMax, ledger } = this.#options;
    let group: Asked[] = [];
    let [start, end] = [0, 0];
    for (const one of asked.toSorted((a, b) => a.start - b.start)) {
      const joins = group.length > 0 && one.start - end <= gapBytes;
      const isInside = group.length > 0 && one.end <= end;
      if (isInside || (joins && Math.max(end, one.end) - start <= requestBytesMax)) {
        ledger.addEvent("merged");
        end = Math.max(end, one.end);
        group.push(one);
      } else {
        this.#fly(key, start, end, group);
        group = [one];
        [start, end] = [one.start, one.end];
      }
    }
    this.#fly(key, start, end, group);
  }

  #fly(key: string, start: number, end: number, group: readonly Asked[]): void {
    if (group.length === 0) return;
    const abort = new AbortController();
    const { signal } = abort;
    const bytes = this.store.getRange(key, start, end, { signal });
    const count = group.length;
    const flight: Flight = { start, end, bytes, abort, askers: count, waiting: count };
    const flights = this.#flights.get(key) ?? new Set();
    this.#flights.set(key, flights.add(flight));
    const land = (): void => {
      flights.delete(flight);
      if (flights.size === 0) this.#flights.delete(key);
    };
    bytes.then(land, land);
    for (const one of group) one.flight.resolve(flight);
  }
}
