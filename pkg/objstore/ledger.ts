/**
 * Counts the requests of a process to its bucket: bytes, failures and latency by kind of request,
 * and the events of the wrappers. The counters are in shared memory, so all threads share them.
 *
 *     | per kind: requests, failures, bytes, nanoseconds, then one count per latency bucket |
 *     | per event: count |                                    64-bit integers in host byte order
 */
export const requestKinds = [
  "put",
  "putIfAbsent",
  "assemble",
  "get",
  "getRange",
  "head",
  "list",
  "listFolders",
  "delete",
  "deleteMany",
] as const;
export type RequestKind = (typeof requestKinds)[number];

/** Actions of wrappers other than forwarding a request. */
export const storeEvents = [
  "retry",
  "retryRefused",
  "timeout",
  "limitWait",
  "hedge",
  "hedgeWon",
  "merged",
  "shared",
  "memoryHit",
  "diskHit",
  "miss",
  "diskCorrupt",
  "diskFailure",
  "diskFull",
  "diskEvicted",
] as const;
export type StoreEvent = (typeof storeEvents)[number];

/** Upper bounds of the latency buckets, seconds; the last bucket has none. */
export const latencyBounds: readonly number[] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30];

export interface RequestCounts {
  /**
   * Requests so far, including failed ones. A list counts once per 1,000 objects, an `assemble`
   * once per request that writes. Its look-ups, reads and deletes count under their own kinds.
   */
  requests: number;
  /** Calls that threw; a `false` of putIfAbsent is not a failure. */
  failures: number;
  /** Bytes of objects that successful calls sent or received. */
  bytes: number;
}

export interface Latency {
  seconds: number;
  /** Calls per bucket of `latencyBounds`, then the calls beyond the last bound. */
  buckets: readonly number[];
}

const headWords = 4;
const kindWords = headWords + latencyBounds.length + 1;
const eventsAt = requestKinds.length * kindWords;
const words = eventsAt + storeEvents.length;

export class StoreLedger {
  readonly buffer: SharedArrayBuffer;
  readonly #words: BigInt64Array<SharedArrayBuffer>;

  /** Creates a ledger, or opens another thread's by its buffer. */
  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(words * 8)) {
    this.buffer = buffer;
    this.#words = new BigInt64Array(buffer);
  }

  /** Adds one call that has ended. */
  addCall(kind: RequestKind, call: { requests: number; failed: boolean; seconds: number }): void {
    const at = requestKinds.indexOf(kind) * kindWords;
    this.#add(at, call.requests);
    if (call.failed) this.#add(at + 1, 1);
    this.#add(at + 3, Math.round(call.seconds * 1e9));
    const bucket = latencyBounds.findIndex((bound) => call.seconds <= bound);
    this.#add(at + headWords + (bucket < 0 ? latencyBounds.length : bucket), 1);
  }

  addBytes(kind: RequestKind, bytes: number): void {
    this.#add(requestKinds.indexOf(kind) * kindWords + 2, bytes);
  }

  addEvent(event: StoreEvent, count = 1): void {
    this.#add(eventsAt + storeEvents.indexOf(event), count);
  }

  counts(kind: RequestKind): RequestCounts {
    const at = requestKinds.indexOf(kind) * kindWords;
    return { requests: this.#get(at), failures: this.#get(at + 1), bytes: this.#get(at + 2) };
  }

  latency(kind: RequestKind): Latency {
    const at = requestKinds.indexOf(kind) * kindWords;
    const buckets = Array.from({ length: latencyBounds.length + 1 }, (_, i) =>
      this.#get(at + headWords + i),
    );
    return { seconds: this.#get(at + 3) / 1e9, buckets };
  }

  events(event: StoreEvent): number {
    return this.#get(eventsAt + storeEvents.indexOf(event));
  }

  #add(at: number, count: number): void {
    Atomics.add(this.#words, at, BigInt(count));
  }

  #get(at: number): number {
    return Number(Atomics.load(this.#words, at));
  }
}
