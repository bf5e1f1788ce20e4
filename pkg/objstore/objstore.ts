/**
 * The one storage interface: a bucket. Everything Spoor keeps goes through it, so that files,
 * memory, S3 and GCS are the same to all other code. `contract.ts` is the suite that every
 * implementation passes; behaviours (retry, cache, count) are wrappers of this interface.
 *
 * Keys are relative, `/`-separated, well-formed Unicode of at most 1,024 UTF-8 bytes, each segment
 * 1 to 255 bytes, none of them `.` or `..`, no NUL, the first not `.tmp` (`keys.ts`). There are no
 * folders; but as a disk cannot hold both, no key may be another key followed by `/...`: the write
 * that would make it so is refused (InvalidInput, "key_is_folder") by stores that can tell.
 *
 * All calls throw InvalidInput for a bad key, Canceled or Timeout when `signal` aborts, and
 * Unavailable (with a reason, "disk_full" for example) when the store cannot do it now. A signal
 * that has aborted before the call stops it before any effect. A write that throws anything but
 * InvalidInput may still have happened.
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
  /** Asks the bucket itself, because what a cache gave was damaged. */
  isFresh?: boolean;
  /**
   * Room for the bytes of a range, for a caller who waits until the call has ended and uses what it
   * returns: a store may put the bytes there, or give others. A wrapper that may answer while a
   * request is still under way does not pass it on.
   */
  into?: Uint8Array;
}

/** Bytes [start, end) of an object. Unlike `getRange`, a range of pieces may be of any length. */
export interface ObjectRange {
  key: string;
  start: number;
  end: number;
}

/** A part of an object to be assembled: bytes, or a range of an object of the same store. */
export type Piece = Uint8Array | ObjectRange;

/** A request that a store made while it assembled an object; "assemble" are those that write. */
export interface MadeRequest {
  kind: Extract<RequestKind, "assemble" | "getRange" | "head" | "delete">;
  /** Bytes that went through this process. */
  bytes: number;
  failed: boolean;
  seconds: number;
}

export interface AssembleOptions extends ReadOptions {
  /** Told of each request as it ends, for who counts them. */
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
   * Writes a whole object, replacing what was there. After it resolves the object is durable and a
   * reader sees all of it; before, a reader sees the old object or none, never a part.
   */
  put(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<void>;

  /**
   * Creates an object only if the key is free: exactly one of any number of racing callers gets
   * `true`, the others `false`. Durable and atomic like `put`; after `false` the other's object is
   * durable too.
   */
  putIfAbsent(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<boolean>;

  /**
   * Writes an object of pieces, one behind the other; none make an empty object. Atomic, durable
   * and replacing like `put`; the key may be that of a source, whose old content is meant. Long
   * ranges are copied by the server where it can, and no more than a few parts are in memory.
   *
   * NotFound if a source is missing, Corrupt if it ends before its range, InvalidInput for a range
   * that is empty or negative: nothing was written then. Unavailable, "source_changed", if a source
   * was replaced or deleted meanwhile. Ranges are not checked against a sum, as by `getRange`.
   */
  assemble(key: string, pieces: readonly Piece[], options?: AssembleOptions): Promise<void>;

  /**
   * Reads a whole object. The caller owns the bytes. NotFound if there is none; TooLarge beyond
   * `readBytesMax`.
   */
  get(key: string, options?: ReadOptions): Promise<Uint8Array>;

  /**
   * Reads bytes [start, end) of an object. The caller owns the bytes. NotFound if there is none;
   * InvalidInput for a negative or empty range; Corrupt if the object ends before `end`.
   */
  getRange(key: string, start: number, end: number, options?: ReadOptions): Promise<Uint8Array>;

  /** Size and time of an object. NotFound if there is none. */
  head(key: string, options?: ReadOptions): Promise<ObjectInfo>;

  /**
   * Objects whose key starts with `prefix`, in UTF-8 byte order of their keys. Objects that are
   * written or deleted while the consumer goes through the list may be in it or not.
   */
  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo>;

  /**
   * The names directly below `prefix` that have keys below them, like folders ("a/b/c" has "a"
   * below ""), in byte order and without the trailing slash. `prefix` is "" or ends with "/".
   */
  listFolders(prefix: string, options?: ReadOptions): Promise<string[]>;

  /** Removes an object. A key that is not there is not an error. */
  delete(key: string, options?: ReadOptions): Promise<void>;

  /**
   * Removes objects, in as few requests as the store offers. Keys that are not there are no error.
   * All keys are checked before the first is removed; after an error some may be gone.
   */
  deleteMany(keys: readonly string[], options?: ReadOptions): Promise<void>;
}
