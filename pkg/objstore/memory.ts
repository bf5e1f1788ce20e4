/** A store in memory, for tests, simulations and processes without durable state. */
import { type Clock, systemClock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { checkRange, checkSignal, copyOf, keyIsFolder, notFound, shortObject } from "./checks.ts";
import { checkFolderPrefix, checkKey, checkPrefix, compareKeys } from "./keys.ts";
import type { AssembleOptions, ListOptions, ObjectInfo } from "./object-store.ts";
import type { ObjectRange, ObjectStore, Piece, ReadOptions } from "./object-store.ts";
import { bytesOfPieces, checkPieces, isRange, reportRequest } from "./pieces.ts";

export interface MemoryStoreOptions {
  /** Maximum bytes of all objects; a write beyond it fails like on a full disk. Default 1 GiB. */
  bytesMax?: number;
  clock?: Clock;
}

interface Stored {
  bytes: Uint8Array;
  modifiedMs: number;
}

export class MemoryStore implements ObjectStore {
  readonly kind = "memory";
  readonly #bytesMax: number;
  readonly #clock: Clock;
  readonly #objects = new Map<string, Stored>();
  /** The keys of `#objects`, in byte order. */
  readonly #keys: string[] = [];
  #sizeBytes = 0;

  constructor(options: MemoryStoreOptions = {}) {
    this.#bytesMax = options.bytesMax ?? 2 ** 30;
    this.#clock = options.clock ?? systemClock;
  }

  async put(key: string, bytes: Uint8Array, options: ReadOptions = {}): Promise<void> {
    checkKey(key);
    checkSignal(options.signal, `write object ${key}`);
    this.#store(key, bytes);
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options: ReadOptions = {}): Promise<boolean> {
    checkKey(key);
    checkSignal(options.signal, `write object ${key}`);
    if (this.#objects.has(key)) return false;
    this.#store(key, bytes);
    return true;
  }

  async assemble(
    key: string,
    pieces: readonly Piece[],
    options: AssembleOptions = {},
  ): Promise<void> {
    checkPieces(key, pieces, options);
    const sizeBytes = bytesOfPieces(pieces);
    await reportRequest(options, { kind: "assemble", bytes: sizeBytes }, async () => {
      const parts = pieces.map((piece) => (isRange(piece) ? this.#part(piece, options) : piece));
      this.#checkSpace(key, sizeBytes);
      this.#store(key, Buffer.concat(parts, sizeBytes));
    });
  }

  async get(key: string, options: ReadOptions = {}): Promise<Uint8Array> {
    return copyOf(this.#find(key, options).bytes);
  }

  async getRange(
    key: string,
    start: number,
    end: number,
    options: ReadOptions = {},
  ): Promise<Uint8Array> {
    checkRange(key, start, end);
    return copyOf(this.#part({ key, start, end }, options));
  }

  async head(key: string, options: ReadOptions = {}): Promise<ObjectInfo> {
    const { bytes, modifiedMs } = this.#find(key, options);
    return { key, sizeBytes: bytes.length, modifiedMs };
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncIterable<ObjectInfo> {
    checkPrefix(prefix);
    const { startAfter = "", signal } = options;
    checkSignal(signal, `list objects ${prefix}`);
    let index = Math.max(this.#indexOf(prefix), this.#indexAfter(startAfter));
    while (index < this.#keys.length) {
      const key = this.#keys[index];
      if (!key.startsWith(prefix)) return;
      const { bytes, modifiedMs } = this.#objects.get(key)!;
      yield { key, sizeBytes: bytes.length, modifiedMs };
      checkSignal(signal, `list objects ${prefix}`);
      // Keys may have been added or removed while the consumer was busy.
      index = this.#indexAfter(key);
    }
  }

  async listFolders(prefix: string, options: ReadOptions = {}): Promise<string[]> {
    checkFolderPrefix(prefix);
    checkSignal(options.signal, `list folders ${prefix}`);
    const folders = new Set<string>();
    for (let index = this.#indexOf(prefix); index < this.#keys.length; index++) {
      const key = this.#keys[index];
      if (!key.startsWith(prefix)) break;
      const slash = key.indexOf("/", prefix.length);
      if (slash >= 0) folders.add(key.slice(prefix.length, slash));
    }
    return [...folders].sort(compareKeys);
  }

  async delete(key: string, options: ReadOptions = {}): Promise<void> {
    checkKey(key);
    checkSignal(options.signal, `delete object ${key}`);
    const stored = this.#objects.get(key);
    if (stored === undefined) return;
    this.#sizeBytes -= stored.bytes.length;
    this.#objects.delete(key);
    this.#keys.splice(this.#indexOf(key), 1);
  }

  async deleteMany(keys: readonly string[], options: ReadOptions = {}): Promise<void> {
    for (const key of keys) checkKey(key);
    checkSignal(options.signal, `delete ${keys.length} objects`);
    for (const key of keys) await this.delete(key, options);
  }

  #find(key: string, options: ReadOptions): Stored {
    checkKey(key);
    checkSignal(options.signal, `read object ${key}`);
    const stored = this.#objects.get(key);
    if (stored === undefined) throw notFound(key);
    return stored;
  }

  /** Returns a view of the stored bytes, not a copy. */
  #part({ key, start, end }: ObjectRange, options: ReadOptions): Uint8Array {
    const { bytes } = this.#find(key, options);
    if (bytes.length < end) throw shortObject(key, end, bytes.length);
    return bytes.subarray(start, end);
  }

  #store(key: string, bytes: Uint8Array): void {
    const old = this.#objects.get(key);
    if (old === undefined && this.#isFolderOrBelowObject(key)) throw keyIsFolder(key);
    this.#sizeBytes = this.#checkSpace(key, bytes.length);
    this.#objects.set(key, { bytes: copyOf(bytes), modifiedMs: this.#clock.nowMs() });
    if (old === undefined) this.#keys.splice(this.#indexOf(key), 0, key);
  }

  /** Returns the size of all objects once `key` has `bytes`. Throws Unavailable if over limit. */
  #checkSpace(key: string, bytes: number): number {
    const old = this.#objects.get(key)?.bytes.length ?? 0;
    const sizeBytes = this.#sizeBytes + bytes - old;
    if (sizeBytes <= this.#bytesMax) return sizeBytes;
    const message = `write object ${key}: store of ${sizeBytes} bytes exceeds ${this.#bytesMax}`;
    throw new SpoorError("Unavailable", message, { reason: "disk_full" });
  }

  /** Like a disk, the store cannot hold both "a" and "a/b". */
  #isFolderOrBelowObject(key: string): boolean {
    if (this.#keys[this.#indexOf(`${key}/`)]?.startsWith(`${key}/`)) return true;
    for (let end = key.indexOf("/"); end >= 0; end = key.indexOf("/", end + 1)) {
      if (this.#objects.has(key.slice(0, end))) return true;
    }
    return false;
  }

  /** Returns the index of the first key that is not less than `key`. */
  #indexOf(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareKeys(this.#keys[middle], key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #indexAfter(key: string): number {
    const index = this.#indexOf(key);
    return this.#keys[index] === key ? index + 1 : index;
  }
}
