/** Counts a store's requests and bytes, for metrics and for tests of what a query costs. */
import type { ListOptions, ObjectInfo, ObjectStore, ReadOptions } from "./objstore.ts";

export const requestKinds = [
  "put",
  "putIfAbsent",
  "get",
  "getRange",
  "head",
  "list",
  "listFolders",
  "delete",
  "deleteMany",
] as const;
export type RequestKind = (typeof requestKinds)[number];

export interface RequestCounts {
  /** Calls that were made, failed ones too. */
  requests: number;
  /** Calls that threw; a `false` of putIfAbsent is no failure. */
  failures: number;
  /** Bytes of objects that were sent or received by calls that succeeded. */
  bytes: number;
}

/** Grows as the store is used: read it whenever the numbers are needed. */
export type StoreCounts = Readonly<Record<RequestKind, Readonly<RequestCounts>>>;

export interface CountedStore extends ObjectStore {
  readonly counts: StoreCounts;
}

export function countStore(store: ObjectStore): CountedStore {
  return new Counter(store);
}

class Counter implements CountedStore {
  readonly kind: string;
  readonly counts: Record<RequestKind, RequestCounts> = {
    put: zero(),
    putIfAbsent: zero(),
    get: zero(),
    getRange: zero(),
    head: zero(),
    list: zero(),
    listFolders: zero(),
    delete: zero(),
    deleteMany: zero(),
  };
  readonly #store: ObjectStore;

  constructor(store: ObjectStore) {
    this.kind = store.kind;
    this.#store = store;
  }

  async put(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<void> {
    await this.#count("put", async () => await this.#store.put(key, bytes, options));
    this.counts.put.bytes += bytes.length;
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<boolean> {
    const created = await this.#count(
      "putIfAbsent",
      async () => await this.#store.putIfAbsent(key, bytes, options),
    );
    this.counts.putIfAbsent.bytes += bytes.length;
    return created;
  }

  async get(key: string, options?: ReadOptions): Promise<Uint8Array> {
    const bytes = await this.#count("get", async () => await this.#store.get(key, options));
    this.counts.get.bytes += bytes.length;
    return bytes;
  }

  async getRange(
    key: string,
    start: number,
    end: number,
    options?: ReadOptions,
  ): Promise<Uint8Array> {
    const bytes = await this.#count(
      "getRange",
      async () => await this.#store.getRange(key, start, end, options),
    );
    this.counts.getRange.bytes += bytes.length;
    return bytes;
  }

  async head(key: string, options?: ReadOptions): Promise<ObjectInfo> {
    return await this.#count("head", async () => await this.#store.head(key, options));
  }

  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    this.counts.list.requests++;
    try {
      yield* this.#store.list(prefix, options);
    } catch (error) {
      this.counts.list.failures++;
      throw error;
    }
  }

  async listFolders(prefix: string, options?: ReadOptions): Promise<string[]> {
    return await this.#count(
      "listFolders",
      async () => await this.#store.listFolders(prefix, options),
    );
  }

  async delete(key: string, options?: ReadOptions): Promise<void> {
    await this.#count("delete", async () => await this.#store.delete(key, options));
  }

  async deleteMany(keys: readonly string[], options?: ReadOptions): Promise<void> {
    await this.#count("deleteMany", async () => await this.#store.deleteMany(keys, options));
  }

  async #count<T>(kind: RequestKind, call: () => Promise<T>): Promise<T> {
    this.counts[kind].requests++;
    try {
      return await call();
    } catch (error) {
      this.counts[kind].failures++;
      throw error;
    }
  }
}

function zero(): RequestCounts {
  return { requests: 0, failures: 0, bytes: 0 };
}
