/**
 * A store that fails on purpose: before a call takes effect (nothing happened), or after (it
 * happened and the answer was lost). Tests run an action again and again with `failNth(1)`,
 * `failNth(2)`, ... until it goes through without a fault.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { RequestKind } from "./ledger.ts";
import type { ListOptions, ObjectInfo, ObjectStore, ReadOptions } from "./objstore.ts";

/** One call of the store; `index` counts from 1 over all kinds. */
export interface StoreCall {
  index: number;
  kind: RequestKind;
  key: string;
}

export type Fault = "none" | "before" | "after";

/** Decides what happens to a call. Asked exactly once for each, in order. */
export type FaultPlan = (call: StoreCall) => Fault;

export interface FaultStoreOptions {
  /** What is thrown. Unavailable, reason "injected", unless given. */
  error?: (call: StoreCall) => Error;
}

export interface FaultStore extends ObjectStore {
  /** Calls so far. */
  readonly calls: number;
  /** Faults so far: 0 after a run means that the plan's turn never came. */
  readonly faults: number;
}

/** Fails the `nth` call (from 1) and no other. */
export function failNth(nth: number, fault: Fault): FaultPlan {
  return (call) => (call.index === nth ? fault : "none");
}

/** Fails calls at random, half before and half after their effect; the same seed fails the same. */
export function failSeeded(seed: number, perMille: number): FaultPlan {
  let state = seed >>> 0;
  const next = (): number => {
    // The splitmix32 finaliser over a Weyl sequence.
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return (mixed ^ (mixed >>> 16)) >>> 0;
  };
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
  return new Faulty(store, plan, options.error ?? injected);
}

function injected(call: StoreCall): SpoorError {
  const message = `${call.kind} ${call.key}: injected fault in call ${call.index}`;
  return new SpoorError("Unavailable", message, { reason: "injected" });
}

class Faulty implements FaultStore {
  readonly kind: string;
  calls = 0;
  faults = 0;
  readonly #store: ObjectStore;
  readonly #plan: FaultPlan;
  readonly #error: (call: StoreCall) => Error;

  constructor(store: ObjectStore, plan: FaultPlan, error: (call: StoreCall) => Error) {
    this.kind = store.kind;
    this.#store = store;
    this.#plan = plan;
    this.#error = error;
  }

  async put(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<void> {
    await this.#call("put", key, async () => await this.#store.put(key, bytes, options));
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<boolean> {
    const call = async (): Promise<boolean> => await this.#store.putIfAbsent(key, bytes, options);
    return await this.#call("putIfAbsent", key, call);
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

  /** "before" fails before the first object, "after" behind the last. */
  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    const { call, fault } = this.#next("list", prefix);
    if (fault === "before") throw this.#error(call);
    yield* this.#store.list(prefix, options);
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

  async #call<T>(kind: RequestKind, key: string, run: () => Promise<T>): Promise<T> {
    const { call, fault } = this.#next(kind, key);
    if (fault === "before") throw this.#error(call);
    const result = await run();
    if (fault === "after") throw this.#error(call);
    return result;
  }

  #next(kind: RequestKind, key: string): { call: StoreCall; fault: Fault } {
    this.calls++;
    const call = { index: this.calls, kind, key };
    const fault = this.#plan(call);
    if (fault !== "none") this.faults++;
    return { call, fault };
  }
}
