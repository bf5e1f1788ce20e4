/**
 * A store in a folder of a local disk.
 *
 *     <root>/.tmp/<uuid>     unfinished writes; never listed; old ones are removed at open
 *     <root>/a/b/c           object "a/b/c"
 *
 * A write creates a temporary file, fsyncs it, and publishes it by `rename` (put) or by `link`
 * (putIfAbsent: link fails if the name is taken, so exactly one of several racers wins, also
 * across processes). Then the folders from the file up to the root are fsynced, because a name is
 * durable only when all folders above it are. Files that are read in ranges stay open for a few
 * seconds (fs-handles.ts).
 */
import { randomUUID } from "node:crypto";
import { constants, type FileHandle, link, mkdir, open, readdir } from "node:fs/promises";
import { lstat, rename, rmdir, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { type Clock, systemClock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  checkRange,
  checkSignal,
  notFound,
  objectTooLarge,
  readBytesMax,
} from "#pkg/objstore/checks.ts";
import { shortObject } from "#pkg/objstore/checks.ts";
import { writePieces } from "./fs-assemble.ts";
import { errnoOf, fsError } from "./fs-errors.ts";
import { FileHandles } from "./fs-handles.ts";
import { foldersWithFiles, readFolder, walkFolder } from "./fs-walk.ts";
import {
  checkFolderPrefix,
  checkKey,
  checkPrefix,
  folderOf,
  reservedFolder,
} from "#pkg/objstore/keys.ts";
import type { AssembleOptions, ListOptions, ObjectInfo } from "#pkg/objstore/object-store.ts";
import type { ObjectStore, Piece, ReadOptions } from "#pkg/objstore/object-store.ts";
import { attemptOf, bytesOfPieces, checkPieces, reportRequest } from "#pkg/objstore/pieces.ts";

/** Temporary files older than this have no live writer. One hour. */
const tmpAgeMaxMs = 3_600_000;
/** Attempts of a write to create its folder while racing deletes keep removing it. */
const publishAttemptsMax = 64;

export interface FsStoreOptions {
  /** Measures the age of left-over temporary files. The system's clock by default. */
  clock?: Clock;
}

/**
 * Opens the store in `rootDir`, creates the folder if it is missing, and removes old temporary
 * files. Throws Unavailable, "no_conditional_create", on a file system without hard links.
 */
export async function openFsStore(
  rootDir: string,
  options: FsStoreOptions = {},
): Promise<ObjectStore> {
  const root = resolve(rootDir);
  const tmpDir = join(root, reservedFolder);
  try {
    const made = await mkdir(tmpDir, { recursive: true });
    if (made !== undefined) await syncUpwards(tmpDir, dirname(made));
    await removeOldTmp(tmpDir, (options.clock ?? systemClock).nowMs());
    await probeLink(tmpDir);
  } catch (error) {
    throw fsError(error, `open store ${root}`);
  }
  return new FsStore(root);
}

class FsStore implements ObjectStore {
  readonly kind = "fs";
  readonly #root: string;
  /** Open files of objects that are read in ranges. */
  readonly #handles = new FileHandles();

  constructor(root: string) {
    this.#root = root;
  }

  async put(key: string, bytes: Uint8Array, options: ReadOptions = {}): Promise<void> {
    await this.#write({ ...writeOf(key, bytes, options.signal), publish: replace });
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options: ReadOptions = {}): Promise<boolean> {
    return await this.#write({ ...writeOf(key, bytes, options.signal), publish: linkIfFree });
  }

  async assemble(
    key: string,
    pieces: readonly Piece[],
    options: AssembleOptions = {},
  ): Promise<void> {
    checkPieces(key, pieces, options);
    const { signal } = options;
    const attempt = attemptOf(key, pieces);
    const pathOf = (source: string): string => join(this.#root, source);
    const fill = async (file: FileHandle): Promise<void> =>
      await writePieces(file, { pieces, pathOf, signal, attempt });
    await reportRequest(options, { kind: "assemble", bytes: bytesOfPieces(pieces) }, async () => {
      await this.#write({ key, attempt, signal, fill, publish: replace });
    });
  }

  async get(key: string, options: ReadOptions = {}): Promise<Uint8Array> {
    return await this.#attempt("read", key, options, async (path) => {
      await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const stats = await file.stat();
      if (!stats.isFile()) throw notFound(key);
      const sizeBytes = stats.size;
      if (sizeBytes > readBytesMax) throw objectTooLarge(key, sizeBytes);
      return await readExactly(file, { key, start: 0, end: sizeBytes });
    });
  }

  async getRange(
    key: string,
    start: number,
    end: number,
    options: ReadOptions = {},
  ): Promise<Uint8Array> {
    checkRange(key, start, end);
    return await this.#attempt("read", key, options, async (path) => {
      return await this.#handles.withFile(path, async ({ file, sizeBytes, isFile }) => {
        if (!isFile) throw notFound(key);
        if (sizeBytes < end) throw shortObject(key, end, sizeBytes);
        return await readExactly(file, { key, start, end, into: options.into });
      });
    });
  }

  async head(key: string, options: ReadOptions = {}): Promise<ObjectInfo> {
    return await this.#attempt("head", key, options, async (path) => {
      const stats = await lstat(path);
      if (!stats.isFile()) throw notFound(key);
      return { key, sizeBytes: stats.size, modifiedMs: Math.floor(stats.mtimeMs) };
    });
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncIterable<ObjectInfo> {
    checkPrefix(prefix);
    const { startAfter = "", signal } = options;
    const attempt = `list objects ${prefix}`;
    checkSignal(signal, attempt);
    const walk = { root: this.#root, prefix, startAfter, signal, attempt, read: readFolder };
    try {
      yield* walkFolder(walk, folderOf(prefix));
    } catch (error) {
      throw fsError(error, attempt);
    }
  }

  async listFolders(prefix: string, options: ReadOptions = {}): Promise<string[]> {
    checkFolderPrefix(prefix);
    const attempt = `list folders ${prefix}`;
    checkSignal(options.signal, attempt);
    try {
      return await foldersWithFiles(this.#root, prefix);
    } catch (error) {
      throw fsError(error, attempt);
    }
  }

  async delete(key: string, options: ReadOptions = {}): Promise<void> {
    await this.#attempt("delete", key, options, async (path) => {
      try {
        await unlink(path);
        await this.#handles.drop(path);
      } catch (error) {
        const code = errnoOf(error);
        if (code === "ENOENT" || code === "ENOTDIR") return;
        // A folder is not an object. Linux says EISDIR, POSIX says EPERM.
        if ((code === "EISDIR" || code === "EPERM") && (await lstat(path)).isDirectory()) return;
        throw error;
      }
      await this.#removeEmptyFolders(dirname(path));
    });
  }

  async deleteMany(keys: readonly string[], options: ReadOptions = {}): Promise<void> {
    for (const key of keys) checkKey(key);
    checkSignal(options.signal, `delete ${keys.length} objects`);
    for (const key of keys) await this.delete(key, options);
  }

  /** Checks key and signal, runs `run` on the object's path, and maps its errors. */
  async #attempt<T>(
    verb: string,
    key: string,
    options: ReadOptions,
    run: (path: string) => Promise<T>,
  ): Promise<T> {
    checkKey(key);
    const attempt = `${verb} object ${key}`;
    checkSignal(options.signal, attempt);
    try {
      return await run(join(this.#root, key));
    } catch (error) {
      const code = errnoOf(error);
      if (code === "ENOENT" || code === "ENOTDIR") throw notFound(key, error);
      throw fsError(error, attempt);
    }
  }

  async #write(write: Write): Promise<boolean> {
    const { key, attempt, signal } = write;
    checkKey(key);
    checkSignal(signal, attempt);
    const tmp = join(this.#root, reservedFolder, randomUUID());
    try {
      await writeDurably(tmp, write.fill);
      checkSignal(signal, attempt);
      const path = join(this.#root, key);
      const published = await this.#publish(write, tmp, path);
      await this.#handles.drop(path);
      await syncUpwards(dirname(path), this.#root);
      return published;
    } catch (error) {
      throw fsError(error, attempt, key);
    } finally {
      await removeTmp(tmp);
    }
  }

  /** Publishes the temporary file, and creates its folder again whenever a delete removed it. */
  async #publish(write: Write, tmp: string, path: string): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        if (attempt > 1) await this.#makeFolders(folderOf(write.key));
        return await write.publish(tmp, path);
      } catch (error) {
        if (errnoOf(error) !== "ENOENT" || attempt === publishAttemptsMax) throw error;
      }
    }
  }

  /** Avoids mkdir's `recursive`: its error misleads when a delete removes a part meanwhile. */
  async #makeFolders(folder: string): Promise<void> {
    for (let end = folder.indexOf("/"); end >= 0; end = folder.indexOf("/", end + 1)) {
      try {
        await mkdir(join(this.#root, folder.slice(0, end)));
      } catch (error) {
        if (errnoOf(error) !== "EEXIST") throw error;
      }
    }
  }

  /** Removes `folder` and its parents while they are empty; writers create theirs again. */
  async #removeEmptyFolders(folder: string): Promise<void> {
    for (let path = folder; path !== this.#root; path = dirname(path)) {
      try {
        await rmdir(path);
      } catch (error) {
        const code = errnoOf(error);
        if (code === "ENOENT") continue;
        if (code !== "ENOTEMPTY" && code !== "EEXIST" && code !== "EBUSY") throw error;
        await syncFolder(path);
        return;
      }
    }
    await syncFolder(this.#root);
  }
}

interface Write {
  key: string;
  /** For messages. */
  attempt: string;
  signal: AbortSignal | undefined;
  /** Writes the content. */
  fill: (file: FileHandle) => Promise<void>;
  /** Renames or links `tmp` to `path`; returns false if the name is taken. */
  publish(tmp: string, path: string): Promise<boolean>;
}

function writeOf(
  key: string,
  bytes: Uint8Array,
  signal: AbortSignal | undefined,
): Omit<Write, "publish"> {
  const attempt = `write object ${key} of ${bytes.length} bytes`;
  return { key, attempt, signal, fill: async (file) => await file.writeFile(bytes) };
}

async function replace(tmp: string, path: string): Promise<boolean> {
  await rename(tmp, path);
  return true;
}

async function linkIfFree(tmp: string, path: string): Promise<boolean> {
  try {
    await link(tmp, path);
    return true;
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
    // A folder with this name is not an object: no racer won, and the key cannot be written.
    if ((await lstat(path)).isDirectory()) throw new FolderInTheWay(path);
    return false;
  }
}

/** Has the code of the error that `rename` throws when a folder has the name. */
class FolderInTheWay extends Error {
  readonly code = "EISDIR";

  constructor(path: string) {
    super(`${path} is a folder`);
  }
}

async function readExactly(
  file: FileHandle,
  range: { key: string; start: number; end: number; into?: Uint8Array },
): Promise<Uint8Array> {
  const { key, start, end, into } = range;
  const fits = into !== undefined && into.length >= end - start;
  const bytes = fits ? into.subarray(0, end - start) : new Uint8Array(end - start);
  for (let filled = 0; filled < bytes.length;) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, start + filled);
    if (bytesRead === 0) throw shortObject(key, end, start + filled);
    filled += bytesRead;
  }
  return bytes;
}

async function writeDurably(path: string, fill: Write["fill"]): Promise<void> {
  await using file = await open(path, "wx");
  await fill(file);
  await file.sync();
}

/** Fsyncs `folder` and its parents up to and including `top`. */
async function syncUpwards(folder: string, top: string): Promise<void> {
  for (let path = folder; ; path = dirname(path)) {
    await syncFolder(path);
    if (path === top) return;
  }
}

/** Fsyncs a folder. A removed folder holds nothing that could be lost, so it is no error. */
async function syncFolder(path: string): Promise<void> {
  try {
    await using folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    await folder.sync();
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}

/** Ignores errors of the file system: the write stands, and a later open removes the file. */
async function removeTmp(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}

async function removeOldTmp(tmpDir: string, nowMs: number): Promise<void> {
  for (const name of await readdir(tmpDir)) {
    const path = join(tmpDir, name);
    try {
      const stats = await lstat(path);
      if (stats.isFile() && nowMs - stats.mtimeMs > tmpAgeMaxMs) await unlink(path);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  }
}

async function probeLink(tmpDir: string): Promise<void> {
  const from = join(tmpDir, randomUUID());
  const to = join(tmpDir, randomUUID());
  try {
    await writeDurably(from, async () => {});
    await link(from, to);
  } catch (error) {
    const code = errnoOf(error);
    if (code !== "EPERM" && code !== "ENOTSUP" && code !== "EOPNOTSUPP") throw error;
    const message = `file system of ${tmpDir} has no hard links, which commits need: use another`;
    throw new SpoorError("Unavailable", message, { reason: "no_conditional_create", cause: error });
  } finally {
    await removeTmp(from);
    await removeTmp(to);
  }
}
