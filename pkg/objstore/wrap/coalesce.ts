/**
 * Merges reads: ranges that are requested in the same turn of the event loop and lie close together
 * become one request, and a range that is in flight already is not requested again.
 *
 *     reads in one turn:   [ a ] [ b ]      [ c ]          a moment later:  [ b ]
 *     requests:            [    a+b   ]     [ c ]                           waits for a+b
 */
import { hasCode } from "#pkg/errors/errors.ts";
import { abortable, checkRange, copyOf } from "#pkg/objstore/checks.ts";
import type { StoreLedger } from "#pkg/objstore/ledger.ts";
import type { ObjectStore, ReadOptions } from "#pkg/objstore/object-store.ts";
import { ForwardingStore } from "./passing.ts";

export interface CoalesceOptions {
  /** Ranges that are at most this far apart are read together. */
  gapBytes: number;
  /** Merging makes no request longer than this. */
  requestBytesMax: number;
  ledger: StoreLedger;
}

/** A range in flight, and the number of callers that wait for a part of it. */
interface Flight {
  start: number;
  end: number;
  bytes: Promise<Uint8Array>;
  abort: AbortController;
  /** Callers so far, and those that still wait. */
  callers: number;
  waiting: number;
}

interface PendingRange {
  start: number;
  end: number;
  flight: PromiseWithResolvers<Flight>;
}

export function coalesceStore(store: ObjectStore, options: CoalesceOptions): ObjectStore {
  return new CoalescingStore(store, options);
}

class CoalescingStore extends ForwardingStore {
  readonly #options: CoalesceOptions;
  /** Key -> ranges requested in this turn of the event loop. */
  readonly #pending = new Map<string, PendingRange[]>();
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
    // The store reports an abort; a fresh read must not share a request.
    const isAlone = options.signal?.aborted === true || options.isFresh === true;
    if (isAlone) return await this.store.getRange(key, start, end, options);
    const flight = this.#find(key, start, end) ?? (await this.#enqueue(key, start, end));
    const isExact = flight.start === start && flight.end === end;
    try {
      const attempt = `read bytes ${start} to ${end} of object ${key}`;
      const bytes = await abortable(flight.bytes, options.signal, attempt);
      // Callers own the returned bytes.
      const isSoleOwner = isExact && flight.callers === 1;
      return isSoleOwner ? bytes : copyOf(bytes, start - flight.start, end - flight.start);
    } catch (error) {
      // The object may end within another caller's part of the request.
      if (isExact || !hasCode(error, "Corrupt")) throw error;
      return await this.store.getRange(key, start, end, options);
    } finally {
      flight.waiting--;
      if (flight.waiting === 0) flight.abort.abort();
    }
  }

  /** Returns a request in flight that covers the range. */
  #find(key: string, start: number, end: number): Flight | undefined {
    for (const flight of this.#flights.get(key) ?? []) {
      if (flight.start > start || flight.end < end) continue;
      this.#options.ledger.addEvent("shared");
      flight.callers++;
      flight.waiting++;
      return flight;
    }
    return undefined;
  }

  async #enqueue(key: string, start: number, end: number): Promise<Flight> {
    const flight = Promise.withResolvers<Flight>();
    let pending = this.#pending.get(key);
    if (pending === undefined) {
      pending = [];
      this.#pending.set(key, pending);
      setImmediate(() => this.#sendPending(key));
    }
    pending.push({ start, end, flight });
    return await flight.promise;
  }

  #sendPending(key: string): void {
    const pending = this.#pending.get(key) ?? [];
    this.#pending.delete(key);
    const { gapBytes, requestBytesMax, ledger } = this.#options;
    let group: PendingRange[] = [];
    let [start, end] = [0, 0];
    for (const one of pending.toSorted((a, b) => a.start - b.start)) {
      const joins = group.length > 0 && one.start - end <= gapBytes;
      const isInside = group.length > 0 && one.end <= end;
      if (isInside || (joins && Math.max(end, one.end) - start <= requestBytesMax)) {
        ledger.addEvent("merged");
        end = Math.max(end, one.end);
        group.push(one);
      } else {
        this.#send(key, start, end, group);
        group = [one];
        [start, end] = [one.start, one.end];
      }
    }
    this.#send(key, start, end, group);
  }

  #send(key: string, start: number, end: number, group: readonly PendingRange[]): void {
    if (group.length === 0) return;
    const abort = new AbortController();
    const { signal } = abort;
    const bytes = this.store.getRange(key, start, end, { signal });
    const count = group.length;
    const flight: Flight = { start, end, bytes, abort, callers: count, waiting: count };
    const flights = this.#flights.get(key) ?? new Set();
    this.#flights.set(key, flights.add(flight));
    const remove = (): void => {
      flights.delete(flight);
      if (flights.size === 0) this.#flights.delete(key);
    };
    bytes.then(remove, remove);
    for (const one of group) one.flight.resolve(flight);
  }
}
