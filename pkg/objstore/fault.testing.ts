/**
 * A store that injects faults:
 *
 *     before    the call fails and has no effect
 *     after     the call takes effect, and then fails, as if its response were lost
 *     slow      the call is delayed, so that others overtake it
 *     damaged   one bit of a range is flipped while it is read, or copied into an object
 *     stale     a list misses the latest writes
 *
 * Tests repeat an action with `failNth(1)`, `failNth(2)`, ... until a run meets no fault.
 */
import { type ErrorCode, SpoorError } from "#pkg/errors/errors.ts";
import type { Reason } from "#pkg/errors/reasons.ts";
import type { RequestKind } from "./ledger.ts";
import type { AssembleOptions, ListOptions, ObjectInfo } from "./object-store.ts";
import type { ObjectStore, Piece, ReadOptions } from "./object-store.ts";

/** One call of the store; `index` counts from 1 over all kinds. */
export interface StoreCall {
  index: number;
  kind: RequestKind;
  key: string;
}

export type Fault = "none" | "before" | "after" | "slow" | "damaged" | "stale";

/** Chooses the fault of a call. Called exactly once for each call of the store, in order. */
export type FaultPlan = (call: StoreCall) => Fault;

/** Number of latest writes that a stale list does not show. */
const staleWrites = 3;

export interface FaultStoreOptions {
  /** Returns the error to throw. Unavailable, reason "injected", by default. */
  error?: (call: StoreCall) => Error;
  /** Delays a slow call. Some turns of the event loop by default. */
  wait?: () => Promise<void>;
}

export interface FaultStore extends ObjectStore {
  /** Calls so far. */
  readonly calls: number;
  /** Faults so far; 0 after a run means that the plan chose no call. */
  readonly faults: number;
}

/** Returns a plan that fails the `nth` call (from 1) and no other. */
export function failNth(nth: number, fault: Fault): FaultPlan {
  return (call) => (call.index === nth ? fault : "none");
}

/** Returns a generator of numbers below 2^32, determined by the seed. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    // The splitmix32 finaliser over a Weyl sequence.
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return (mixed ^ (mixed >>> 16)) >>> 0;
  };
}

/** Returns a plan of random faults of all kinds, determined by the seed. */
export function chaos(seed: number, perMille: number): FaultPlan {
  const next = seeded(seed);
  const faults = ["before", "after", "slow", "damaged", "stale"] as const;
  return () => {
    const fails = next() % 1000 < perMille;
    const fault = faults[next() % faults.length];
    return fails ? fault : "none";
  };
}

/** Returns errors that clouds send under load: 500, 503 SlowDown, lost connections, timeouts. */
export function cloudErrors(seed: number): (call: StoreCall) => SpoorError {
  const next = seeded(seed);
  return ({ kind, key, index }) => {
    const say = (code: ErrorCode, reason: Reason, retryAfterMs?: number): SpoorError =>
      new SpoorError(code, `${kind} ${key}: ${reason} in call ${index}`, { reason, retryAfterMs });
    const errors = [
      () => say("Unavailable", "server_error"),
      () => say("Unavailable", "slow_down"),
      () => say("Unavailable", "slow_down", 1000),
      () => say("Unavailable", "connection_lost"),
      () => say("Timeout", "request_timeout"),
      // The store found that the body does not match the stored checksum.
      () => say("Corrupt", "checksum_mismatch"),
    ];
    return errors[next() % errors.length]();
  };
}

/** Returns a plan of random faults, half before and half after the effect, determined by `seed`. */
export function failSeeded(seed: number, perMille: number): FaultPlan {
  const next = seeded(seed);
  return () => {
    const fails = next() % 1000 < perMille;
    const after = next() % 2 === 0;
    if (!fails) return "none";
    return after ? "after" : "before";
  };
}

export function faultStore(
  store: ObjectStore,
  plan: FaultPlan,
  options: FaultStoreOptions = {},
): FaultStore {
  return new FaultInjectingStore(store, plan, options);
}

/** Waits some turns of the event loop, so that other calls overtake a slow one. */
async function someTurns(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

function injected(call: StoreCall): SpoorError {
  const message = `${call.kind} ${call.key}: injected fault in call ${call.index}`;
  return new SpoorError("Unavailable", message, { reason: "injected" });
}

/** Stores verify the checksum of whole objects, so only ranges can be damaged. */
function applies(fault: Fault, kind: RequestKind): boolean {
  if (fault === "damaged") return kind === "getRange" || kind === "assemble";
  return fault !== "stale" || kind === "list";
}

class FaultInjectingStore implements FaultStore {
  readonly kind: string;
  calls = 0;
  faults = 0;
  readonly #store: ObjectStore;
  readonly #plan: FaultPlan;
  readonly #error: (call: StoreCall) => Error;
  readonly #wait: () => Promise<void>;
  /** Keys of the latest writes, the newest last. */
  #written: string[] = [];

  constructor(store: ObjectStore, plan: FaultPlan, options: FaultStoreOptions) {
    this.kind = store.kind;
    this.#store = store;
    this.#plan = plan;
    this.#error = options.error ?? injected;
    this.#wait = options.wait ?? someTurns;
  }

  async put(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<void> {
    this.#note(key);
    await this.#call("put", key, async () => await this.#store.put(key, bytes, options));
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<boolean> {
    const call = async (): Promise<boolean> => await this.#store.putIfAbsent(key, bytes, options);
    this.#note(key);
    return await this.#call("putIfAbsent", key, call);
  }

  async assemble(key: string, pieces: readonly Piece[], options?: AssembleOptions): Promise<void> {
    this.#note(key);
    await this.#call("assemble", key, async (damage) => {
      const given = damage === undefined ? pieces : await this.#damaged(pieces, damage, options);
      await this.#store.assemble(key, given, options);
    });
  }

  async get(key: string, options?: ReadOptions): Promise<Uint8Array> {
    return await this.#call("get", key, async () => await this.#store.get(key, options));
  }

  async getRange(
    key: string,
    start: number,
    end: number,
    options?: ReadOptions,
  ): Promise<Uint8Array> {
    const call = async (): Promise<Uint8Array> =>
      await this.#store.getRange(key, start, end, options);
    return await this.#call("getRange", key, call);
  }

  async head(key: string, options?: ReadOptions): Promise<ObjectInfo> {
    return await this.#call("head", key, async () => await this.#store.head(key, options));
  }

  /** "before" fails before the first object, "after" fails after the last. */
  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    const { call, fault } = this.#next("list", prefix);
    if (fault === "before") throw this.#error(call);
    if (fault === "slow") await this.#wait();
    const hidden = fault === "stale" ? [...this.#written] : [];
    for await (const info of this.#store.list(prefix, options)) {
      if (!hidden.includes(info.key)) yield info;
    }
    if (fault === "after") throw this.#error(call);
  }

  async listFolders(prefix: string, options?: ReadOptions): Promise<string[]> {
    const call = async (): Promise<string[]> => await this.#store.listFolders(prefix, options);
    return await this.#call("listFolders", prefix, call);
  }

  async delete(key: string, options?: ReadOptions): Promise<void> {
    await this.#call("delete", key, async () => await this.#store.delete(key, options));
  }

  async deleteMany(keys: readonly string[], options?: ReadOptions): Promise<void> {
    const call = async (): Promise<void> => await this.#store.deleteMany(keys, options);
    await this.#call("deleteMany", keys[0] ?? "", call);
  }

  /** Passes the call to `run` if `run` must damage the bytes that it writes. */
  async #call<T>(
    kind: RequestKind,
    key: string,
    run: (damage?: StoreCall) => Promise<T>,
  ): Promise<T> {
    const { call, fault } = this.#next(kind, key);
    if (fault === "before") throw this.#error(call);
    if (fault === "slow") await this.#wait();
    const result = await run(fault === "damaged" ? call : undefined);
    if (fault === "after") throw this.#error(call);
    if (fault === "damaged" && result instanceof Uint8Array && result.length > 0) {
      result[call.index % result.length] ^= 1 << (call.index % 8);
    }
    return result;
  }

  /** Flips one bit of the first range. Pieces of bytes stay: a checksum protects them. */
  async #damaged(
    pieces: readonly Piece[],
    { index }: StoreCall,
    options: AssembleOptions | undefined,
  ): Promise<readonly Piece[]> {
    const at = pieces.findIndex((piece) => !(piece instanceof Uint8Array));
    const range = pieces[at];
    if (range === undefined || range instanceof Uint8Array) return pieces;
    const { key, start, end } = range;
    const byte = await this.#store.getRange(key, start, start + 1, { signal: options?.signal });
    byte[0] ^= 1 << (index % 8);
    const rest = end - start > 1 ? [{ key, start: start + 1, end }] : [];
    return pieces.toSpliced(at, 1, byte, ...rest);
  }

  #note(key: string): void {
    this.#written = [...this.#written.slice(1 - staleWrites), key];
  }

  #next(kind: RequestKind, key: string): { call: StoreCall; fault: Fault } {
    this.calls++;
    const call = { index: this.calls, kind, key };
    const planned = this.#plan(call);
    const fault = applies(planned, kind) ? planned : "none";
    if (fault !== "none") this.faults++;
    return { call, fault };
  }
}
