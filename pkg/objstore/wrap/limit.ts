/**
 * Bounds the requests in flight, and their bytes where the size is known beforehand. A request that
 * does not fit waits; waiting requests are admitted in order. A request that is larger than the
 * bound runs alone.
 */
import { checkSignal } from "#pkg/objstore/checks.ts";
import type { StoreLedger } from "#pkg/objstore/ledger.ts";
import type { AssembleOptions, ListOptions, ObjectInfo } from "#pkg/objstore/object-store.ts";
import type { ObjectStore, Piece, ReadOptions } from "#pkg/objstore/object-store.ts";
import { heldBytes } from "#pkg/objstore/pieces.ts";

export interface LimitOptions {
  requestsMax: number;
  bytesMax: number;
  ledger: StoreLedger;
}

export function limitStore(store: ObjectStore, options: LimitOptions): ObjectStore {
  return new LimitedStore(store, options);
}

interface Waiter {
  bytes: number;
  admit: () => void;
}

class LimitedStore implements ObjectStore {
  readonly kind: string;
  readonly #store: ObjectStore;
  readonly #options: LimitOptions;
  #requests = 0;
  #bytes = 0;
  /** In order of arrival. */
  readonly #waiters = new Set<Waiter>();

  constructor(store: ObjectStore, options: LimitOptions) {
    this.kind = store.kind;
    this.#store = store;
    this.#options = options;
  }

  async put(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<void> {
    const call = async (): Promise<void> => await this.#store.put(key, bytes, options);
    await this.#limited(bytes.length, options, call);
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<boolean> {
    const call = async (): Promise<boolean> => await this.#store.putIfAbsent(key, bytes, options);
    return await this.#limited(bytes.length, options, call);
  }

  async assemble(key: string, pieces: readonly Piece[], options?: AssembleOptions): Promise<void> {
    const call = async (): Promise<void> => await this.#store.assemble(key, pieces, options);
    await this.#limited(heldBytes(pieces), options, call);
  }

  async get(key: string, options?: ReadOptions): Promise<Uint8Array> {
    return await this.#limited(0, options, async () => await this.#store.get(key, options));
  }

  async getRange(
    key: string,
    start: number,
    end: number,
    options?: ReadOptions,
  ): Promise<Uint8Array> {
    const call = async (): Promise<Uint8Array> =>
      await this.#store.getRange(key, start, end, options);
    return await this.#limited(Math.max(0, end - start) || 0, options, call);
  }

  async head(key: string, options?: ReadOptions): Promise<ObjectInfo> {
    return await this.#limited(0, options, async () => await this.#store.head(key, options));
  }

  /** Takes a slot while it waits for the store, not while its consumer works. */
  async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    const walk = this.#store.list(prefix, options)[Symbol.asyncIterator]();
    try {
      for (;;) {
        const step = await this.#limited(0, options, async () => await walk.next());
        if (step.done === true) return;
        yield step.value;
      }
    } finally {
      await walk.return?.();
    }
  }

  async listFolders(prefix: string, options?: ReadOptions): Promise<string[]> {
    const call = async (): Promise<string[]> => await this.#store.listFolders(prefix, options);
    return await this.#limited(0, options, call);
  }

  async delete(key: string, options?: ReadOptions): Promise<void> {
    await this.#limited(0, options, async () => await this.#store.delete(key, options));
  }

  async deleteMany(keys: readonly string[], options?: ReadOptions): Promise<void> {
    await this.#limited(0, options, async () => await this.#store.deleteMany(keys, options));
  }

  async #limited<T>(
    bytes: number,
    options: ReadOptions | undefined,
    call: () => Promise<T>,
  ): Promise<T> {
    if (this.#waiters.size > 0 || !this.#fits(bytes)) await this.#wait(bytes, options?.signal);
    else this.#take(bytes);
    try {
      return await call();
    } finally {
      this.#requests--;
      this.#bytes -= bytes;
      this.#admit();
    }
  }

  #fits(bytes: number): boolean {
    const { requestsMax, bytesMax } = this.#options;
    if (this.#requests === 0) return true;
    return this.#requests < requestsMax && this.#bytes + bytes <= bytesMax;
  }

  #take(bytes: number): void {
    this.#requests++;
    this.#bytes += bytes;
  }

  #admit(): void {
    for (const waiter of this.#waiters) {
      if (!this.#fits(waiter.bytes)) return;
      this.#waiters.delete(waiter);
      this.#take(waiter.bytes);
      waiter.admit();
    }
  }

  /** Waits until the request is admitted. Throws Canceled or Timeout if `signal` aborts first. */
  async #wait(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    checkSignal(signal, "wait for the store");
    this.#options.ledger.addEvent("limitWait");
    const turn = Promise.withResolvers<void>();
    const waiter: Waiter = { bytes, admit: turn.resolve };
    this.#waiters.add(waiter);
    const onAbort = (): void => {
      if (!this.#waiters.delete(waiter)) return;
      // The next waiter may fit where this one did not.
      this.#admit();
      try {
        checkSignal(signal, "wait for the store");
      } catch (error) {
        turn.reject(error);
      }
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await turn.promise;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }
}
