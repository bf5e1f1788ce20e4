/**
 * The storage interface: a bucket. All stored data goes through it, so no other code depends on
 * whether the bucket is a folder, memory, S3 or GCS. `contract.ts` is the test suite that every
 * implementation passes. Retries, caching and counting are wrappers of this interface.
 *
 * Keys are relative, `/`-separated, well-formed Unicode of at most 1,024 UTF-8 bytes, each segment
 * 1 to 255 bytes, none of them `.` or `..`, no NUL, the first not `.tmp` (`keys.ts`). A bucket has
 * no folders. A disk cannot hold both "a" and "a/b", so no key may be another key followed by
 * `/...`. Stores that can detect such a write refuse it (InvalidInput, "key_is_folder").
 *
 * All calls throw InvalidInput for a bad key, Canceled or Timeout when `signal` aborts, and
 * Unavailable (with a reason, "disk_full" for example) when the store cannot serve the call now. A
 * signal that has aborted before the call prevents any effect. A write that throws anything but
 * InvalidInput may still have taken effect.
 */
import type { RequestKind } from "./ledger.ts";

export interface ObjectInfo {
  key: string;
  sizeBytes: number;
  /** Last modification, milliseconds since the epoch. */
  modifiedMs: number;
}

export interface ReadOptions {
  signal?: AbortSignal;
  /** Reads from the bucket and not from a cache, because the cached bytes were damaged. */
  isFresh?: boolean;
  /**
   * A buffer for the bytes of a range. The store may fill it or return another array, so the caller
   * uses the returned array, and leaves the buffer alone until the call has ended. A wrapper that
   * may return while a request is still in flight does not forward the buffer.
   */
  into?: Uint8Array;
}

/** Bytes [start, end) of an object. Unlike a range of `getRange`, it may have any length. */
export interface ObjectRange {
  key: string;
  start: number;
  end: number;
}

/** A part of an object to assemble: bytes, or a range of an object in the same store. */
export type Piece = Uint8Array | ObjectRange;

/** A request that a store made while it assembled an object; kind "assemble" marks writes. */
export interface MadeRequest {
  kind: Extract<RequestKind, "assemble" | "getRange" | "head" | "delete">;
  /** Bytes that passed through this process. */
  bytes: number;
  failed: boolean;
  seconds: number;
}

export interface AssembleOptions extends ReadOptions {
  /** Called when a request has ended; wrappers count requests with it. */
  onRequest?: (request: MadeRequest) => void;
}

export interface ListOptions {
  /** Only keys strictly greater than this one, in UTF-8 byte order. */
  startAfter?: string;
  signal?: AbortSignal;
}

export interface ObjectStore {
  /** For messages and metrics: "fs", "memory", "s3", "gcs". */
  readonly kind: string;

  /**
   * Writes a whole object, replacing an existing one. When the promise resolves, the object is
   * durable and readers see all of it. Until then readers see the old object or none, never a part.
   */
  put(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<void>;

  /**
   * Creates an object only if the key is free. Of any number of racing callers exactly one gets
   * `true` and the others get `false`. Durable and atomic like `put`; after `false`, the winner's
   * object is durable.
   */
  putIfAbsent(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<boolean>;

  /**
   * Writes the concatenation of `pieces` as an object; no pieces make an empty object. Atomic,
   * durable and replacing like `put`. A source may have the target's key: its old content is used.
   * The server copies long ranges where it can, and only a few parts are in memory at once.
   *
   * Throws NotFound if a source is missing, Corrupt if a source ends before its range, and
   * InvalidInput for a range that is empty or negative; nothing is written in these cases. Throws
   * Unavailable, "source_changed", if a source is replaced or deleted during the call. Source
   * ranges are not verified against a checksum, as in `getRange`.
   */
  assemble(key: string, pieces: readonly Piece[], options?: AssembleOptions): Promise<void>;

  /**
   * Reads a whole object. The caller owns the bytes. Throws NotFound if there is none, TooLarge
   * beyond `readBytesMax`.
   */
  get(key: string, options?: ReadOptions): Promise<Uint8Array>;

  /**
   * Reads bytes [start, end) of an object. The caller owns the bytes. Throws NotFound if there is
   * no object, InvalidInput for a range that is negative, empty or over `readBytesMax`, Corrupt if
   * the object ends before `end`.
   */
  getRange(key: string, start: number, end: number, options?: ReadOptions): Promise<Uint8Array>;

  /** Returns the size and time of an object. Throws NotFound if there is none. */
  head(key: string, options?: ReadOptions): Promise<ObjectInfo>;

  /**
   * Lists the objects whose key starts with `prefix`, in UTF-8 byte order of their keys. An object
   * that is written or deleted during the iteration may or may not appear.
   */
  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo>;

  /**
   * Lists the folder names directly below `prefix` (key "a/b/c" has folder "a" below ""), in byte
   * order and without the trailing slash. `prefix` is "" or ends with "/".
   */
  listFolders(prefix: string, options?: ReadOptions): Promise<string[]>;

  /** Removes an object. A missing key is not an error. */
  delete(key: string, options?: ReadOptions): Promise<void>;

  /**
   * Removes objects with as few requests as the store allows. Missing keys are not an error. All
   * keys are validated before the first object is removed. After an error some objects may be gone.
   */
  deleteMany(keys: readonly string[], options?: ReadOptions): Promise<void>;
}
