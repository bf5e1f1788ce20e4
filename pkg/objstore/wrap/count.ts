/** Counts a store's requests and bytes, for metrics and for tests of the cost of queries. */
import {
  type Latency,
  type RequestCounts,
  type RequestKind,
  requestKinds,
  StoreLedger,
} from "#pkg/objstore/ledger.ts";
import type {
  AssembleOptions,
  ListOptions,
  MadeRequest,
  ObjectInfo,
} from "#pkg/objstore/object-store.ts";
import type { ObjectStore, Piece, ReadOptions } from "#pkg/objstore/object-store.ts";

/** A live view: each property returns the current number. */
export type StoreCounts = Readonly<Record<RequestKind, Readonly<RequestCounts>>>;

export interface CountedStore extends ObjectStore {
  readonly counts: StoreCounts;
  /** Returns the latencies of the calls of a kind. */
  latency(kind: RequestKind): Latency;
}

/** Objects of one page of a list; clouds bill lists by the page. */
const pageSize = 1000;

/** Wraps a store. Counts into `ledger`, which threads may share; a new one by default. */
export function countStore(
  store: ObjectStore,
  ledger: StoreLedger = new StoreLedger(),
): CountedStore {
  return new CountingStore(store, ledger);
}

/** Returns a live view of the counts of a ledger. */
export function countsOf(ledger: StoreLedger): StoreCounts {
  const live = (kind: RequestKind): RequestCounts => ({
    get requests(): number {
      return ledger.counts(kind).requests;
    },
    get failures(): number {
      return ledger.counts(kind).failures;
    },
    get bytes(): number {
      return ledger.counts(kind).bytes;
    },
  });
  const entries = requestKinds.map((kind) => [kind, live(kind)] as const);
  return Object.fromEntries(entries) as StoreCounts;
}

/** Prices per million requests, in the currency of the price list. */
export interface RequestPrices {
  writePerMillion: number;
  readPerMillion: number;
  deletePerMillion: number;
}

/** Returns the price of the requests. Writes and lists have one price, reads another. */
export function estimateCost(counts: StoreCounts, prices: RequestPrices): number {
  const sum = (...kinds: RequestKind[]): number =>
    kinds.reduce((total, kind) => total + counts[kind].requests, 0) / 1e6;
  return (
    sum("put", "putIfAbsent", "assemble", "list", "listFolders") * prices.writePerMillion +
    sum("get", "getRange", "head") * prices.readPerMillion +
    sum("delete", "deleteMany") * prices.deletePerMillion
  );
}

class CountingStore implements CountedStore {
  readonly kind: string;
  readonly counts: StoreCounts;
  readonly #store: ObjectStore;
  readonly #ledger: StoreLedger;

  constructor(store: ObjectStore, ledger: StoreLedger) {
    this.counts = countsOf(ledger);
    this.kind = store.kind;
    this.#store = store;
    this.#ledger = ledger;
  }

  latency(kind: RequestKind): Latency {
    return this.#ledger.latency(kind);
  }

  async put(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<void> {
    await this.#count("put", async () => await this.#store.put(key, bytes, options));
    this.#ledger.addBytes("put", bytes.length);
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<boolean> {
    const created = await this.#count(
      "putIfAbsent",
      async () => await this.#store.putIfAbsent(key, bytes, options),
    );
    this.#ledger.addBytes("putIfAbsent", bytes.length);
    return created;
  }

  async assemble(
    key: string,
    pieces: readonly Piece[],
    options: AssembleOptions = {},
  ): Promise<void> {
    const startMs = performance.now();
    let writes = 0;
    let failed = true;
    const onRequest = (request: MadeRequest): void => {
      options.onRequest?.(request);
      if (!request.failed) this.#ledger.addBytes(request.kind, request.bytes);
      if (request.kind === "assemble") writes++;
      else this.#ledger.addCall(request.kind, { ...request, requests: 1 });
    };
    try {
      await this.#store.assemble(key, pieces, { ...options, onRequest });
      failed = false;
    } finally {
      const requests = Math.max(1, writes);
      this.#ledger.addCall("assemble", { requests, failed, seconds: secondsSince(startMs) });
    }
  }

  async get(key: string, options?: ReadOptions): Promise<Uint8Array> {
    const bytes = await this.#count("get", async () => await this.#store.get(key, options));
    this.#ledger.addBytes("get", bytes.length);
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
    this.#ledger.addBytes("getRange", bytes.length);
    return bytes;
  }

  async head(key: string, options?: ReadOptions): Promise<ObjectInfo> {
    return await this.#count("head", async () => await this.#store.head(key, options));
  }

  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    const startMs = performance.now();
    let objects = 0;
    let failed = true;
    try {
      for await (const info of this.#store.list(prefix, options)) {
        objects++;
        failed = false;
        yield info;
        failed = true;
      }
      failed = false;
    } finally {
      const requests = Math.max(1, Math.ceil(objects / pageSize));
      this.#ledger.addCall("list", { requests, failed, seconds: secondsSince(startMs) });
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
    const startMs = performance.now();
    let failed = true;
    try {
      const result = await call();
      failed = false;
      return result;
    } finally {
      this.#ledger.addCall(kind, { requests: 1, failed, seconds: secondsSince(startMs) });
    }
  }
}

function secondsSince(startMs: number): number {
  return (performance.now() - startMs) / 1000;
}
