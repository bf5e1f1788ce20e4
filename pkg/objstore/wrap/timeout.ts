/** Gives each call a timeout: a fixed time plus a time for each byte that it transfers. */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { StoreLedger } from "#pkg/objstore/ledger.ts";
import type { AssembleOptions, ListOptions, ObjectInfo } from "#pkg/objstore/object-store.ts";
import type { ObjectStore, Piece, ReadOptions } from "#pkg/objstore/object-store.ts";
import { bytesOfPieces } from "#pkg/objstore/pieces.ts";

export interface TimeoutOptions {
  timeoutMs: number;
  /** Slowest transfer rate that does not time out, bytes per second. */
  bytesPerSecondMin: number;
  ledger: StoreLedger;
}

/** Assumed size of objects that are read whole: commits and rule lists are smaller. 16 MiB. */
const wholeBytesMax = 16 * 1024 * 1024;

/** Longest timer of Node, milliseconds; a longer one fires at once. */
const timerMsMax = 2 ** 31 - 1;

export function timeoutStore(store: ObjectStore, options: TimeoutOptions): ObjectStore {
  return new TimeoutStore(store, options);
}

class TimeoutStore implements ObjectStore {
  readonly kind: string;
  readonly #store: ObjectStore;
  readonly #options: TimeoutOptions;

  constructor(store: ObjectStore, options: TimeoutOptions) {
    this.kind = store.kind;
    this.#store = store;
    this.#options = options;
  }

  async put(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<void> {
    const call = async (signal: AbortSignal): Promise<void> =>
      await this.#store.put(key, bytes, { signal });
    await this.#timed(`write object ${key}`, bytes.length, options, call);
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<boolean> {
    const call = async (signal: AbortSignal): Promise<boolean> =>
      await this.#store.putIfAbsent(key, bytes, { signal });
    return await this.#timed(`create object ${key}`, bytes.length, options, call);
  }

  async assemble(key: string, pieces: readonly Piece[], options?: AssembleOptions): Promise<void> {
    const call = async (signal: AbortSignal): Promise<void> =>
      await this.#store.assemble(key, pieces, { ...options, signal });
    await this.#timed(`assemble object ${key}`, bytesOfPieces(pieces), options, call);
  }

  async get(key: string, options?: ReadOptions): Promise<Uint8Array> {
    const call = async (signal: AbortSignal): Promise<Uint8Array> =>
      await this.#store.get(key, { signal });
    return await this.#timed(`read object ${key}`, wholeBytesMax, options, call);
  }

  async getRange(
    key: string,
    start: number,
    end: number,
    options?: ReadOptions,
  ): Promise<Uint8Array> {
    const call = async (signal: AbortSignal): Promise<Uint8Array> =>
      await this.#store.getRange(key, start, end, { ...options, signal, into: undefined });
    const bytes = Math.max(0, end - start) || 0;
    return await this.#timed(`read bytes ${start} to ${end} of ${key}`, bytes, options, call);
  }

  async head(key: string, options?: ReadOptions): Promise<ObjectInfo> {
    const call = async (signal: AbortSignal): Promise<ObjectInfo> =>
      await this.#store.head(key, { signal });
    return await this.#timed(`look up object ${key}`, 0, options, call);
  }

  /** Each step of the list has its own timeout; time that the consumer takes does not count. */
  async *list(prefix: string, options: ListOptions = {}): AsyncIterable<ObjectInfo> {
    const abort = new AbortController();
    const below = this.#store.list(prefix, { ...options, signal: abort.signal });
    const walk = below[Symbol.asyncIterator]();
    try {
      for (;;) {
        const step = await this.#timed(`list objects ${prefix}`, 0, options, async (signal) => {
          const forward = (): void => abort.abort(signal.reason);
          if (signal.aborted) forward();
          signal.addEventListener("abort", forward, { once: true });
          try {
            return await walk.next();
          } finally {
            signal.removeEventListener("abort", forward);
          }
        });
        if (step.done === true) return;
        yield step.value;
      }
    } finally {
      await walk.return?.();
    }
  }

  async listFolders(prefix: string, options?: ReadOptions): Promise<string[]> {
    const call = async (signal: AbortSignal): Promise<string[]> =>
      await this.#store.listFolders(prefix, { signal });
    return await this.#timed(`list folders ${prefix}`, 0, options, call);
  }

  async delete(key: string, options?: ReadOptions): Promise<void> {
    const call = async (signal: AbortSignal): Promise<void> =>
      await this.#store.delete(key, { signal });
    await this.#timed(`delete object ${key}`, 0, options, call);
  }

  async deleteMany(keys: readonly string[], options?: ReadOptions): Promise<void> {
    const call = async (signal: AbortSignal): Promise<void> =>
      await this.#store.deleteMany(keys, { signal });
    await this.#timed(`delete ${keys.length} objects`, 0, options, call);
  }

  async #timed<T>(
    attempt: string,
    bytes: number,
    options: ReadOptions | undefined,
    call: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { timeoutMs, bytesPerSecondMin, ledger } = this.#options;
    const outer = options?.signal;
    const abort = new AbortController();
    const forward = (): void => abort.abort(outer?.reason);
    if (outer?.aborted) forward();
    outer?.addEventListener("abort", forward, { once: true });
    const limitMs = Math.min(timerMsMax, Math.ceil(timeoutMs + (bytes / bytesPerSecondMin) * 1000));
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      abort.abort(new DOMException("too late", "TimeoutError"));
    }, limitMs);
    try {
      return await call(abort.signal);
    } catch (cause) {
      if (!isLate) throw cause;
      ledger.addEvent("timeout");
      const message = `${attempt}: no response within ${limitMs} ms`;
      throw new SpoorError("Timeout", message, { reason: "request_timeout", cause });
    } finally {
      clearTimeout(timer);
      outer?.removeEventListener("abort", forward);
    }
  }
}
