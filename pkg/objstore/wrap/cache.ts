/**
 * Caches ranges of objects that never change: first in memory, then on the local disk. Memory
 * keeps the most recently used ranges; the disk keeps more ranges for longer (`disk-cache.ts`).
 */
import { LRUCache } from "lru-cache";
import { checkRange, copyOf } from "#pkg/objstore/checks.ts";
import type { DiskCache } from "./disk-cache.ts";
import { checkKey } from "#pkg/objstore/keys.ts";
import type { StoreLedger } from "#pkg/objstore/ledger.ts";
import type { ObjectStore, ReadOptions } from "#pkg/objstore/object-store.ts";
import { ForwardingStore } from "./passing.ts";

export interface CacheOptions {
  /** Returns whether an object is written once and never changes. Others are not cached. */
  isImmutable: (key: string) => boolean;
  /** Maximum bytes of ranges in memory. 0 disables the memory cache. */
  memoryBytes: number;
  /** Undefined: no disk cache. */
  disk: DiskCache | undefined;
  ledger: StoreLedger;
}

/** Estimated overhead of an entry besides its bytes and id. */
const entryBytes = 200;

export function cacheStore(store: ObjectStore, options: CacheOptions): ObjectStore {
  return new CachingStore(store, options);
}

class CachingStore extends ForwardingStore {
  readonly #options: CacheOptions;
  readonly #memory: LRUCache<string, Uint8Array> | undefined;

  constructor(store: ObjectStore, options: CacheOptions) {
    super(store);
    this.#options = options;
    if (options.memoryBytes === 0) return;
    this.#memory = new LRUCache({
      maxSize: options.memoryBytes,
      sizeCalculation: (bytes, id) => bytes.length + id.length * 2 + entryBytes,
    });
  }

  override async getRange(
    key: string,
    start: number,
    end: number,
    options: ReadOptions = {},
  ): Promise<Uint8Array> {
    const { isImmutable, disk, ledger } = this.#options;
    checkKey(key);
    checkRange(key, start, end);
    const isRefused = options.signal?.aborted === true;
    if (isRefused || !isImmutable(key)) return await this.store.getRange(key, start, end, options);
    const id = `${key}@${start}-${end}`;
    if (options.isFresh === true) {
      this.#memory?.delete(id);
      await disk?.remove(id);
    } else {
      const known = this.#memory?.get(id);
      if (known !== undefined) {
        ledger.addEvent("memoryHit");
        return copyOf(known);
      }
      const stored = await disk?.read(id);
      if (stored !== undefined) {
        ledger.addEvent("diskHit");
        this.#memory?.set(id, copyOf(stored));
        return stored;
      }
    }
    ledger.addEvent("miss");
    const bytes = await this.store.getRange(key, start, end, options);
    // Callers own the returned bytes, so the cache keeps a copy.
    const kept = copyOf(bytes);
    this.#memory?.set(id, kept);
    disk?.write(id, kept);
    return bytes;
  }
}
