/**
 * Remembers ranges of objects that never change: in memory, over the local disk, over the bucket.
 * Memory keeps what was used last; the disk keeps more, and longer (`disk-cache.ts`).
 */
import { LRUCache } from "lru-cache";
import { checkRange, copyOf } from "./checks.ts";
import type { DiskCache } from "./disk-cache.ts";
import { checkKey } from "./keys.ts";
import type { StoreLedger } from "./ledger.ts";
import type { ObjectStore, ReadOptions } from "./objstore.ts";
import { PassingStore } from "./passing.ts";

export interface CacheOptions {
  /** Whether an object is written once and never again. Others are not remembered. */
  isImmutable: (key: string) => boolean;
  /** Of ranges in memory. 0: none. */
  memoryBytes: number;
  /** Undefined: none. */
  disk: DiskCache | undefined;
  ledger: StoreLedger;
}

/** What an entry takes besides its bytes. */
const entryBytes = 200;

export function cacheStore(store: ObjectStore, options: CacheOptions): ObjectStore {
  return new CachingStore(store, options);
}

class CachingStore extends PassingStore {
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
    // Callers own what they get.
    const kept = copyOf(bytes);
    this.#memory?.set(id, kept);
    disk?.write(id, kept);
    return bytes;
  }
}
