/**
 * A cache of open files. A block is read in many small ranges, and open, stat and close cost more
 * than such a read.
 *
 * Any process may replace the file of a name at any time. So each use also stats the path while it
 * reads. An inode number is not reused while its file is open, so an equal number means the same
 * file. If the file is another one, it is opened and read instead.
 *
 * A deleted file occupies disk space until it is closed. Files that this store replaces or deletes
 * are closed at once, others when they have been idle for a while.
 */
import type { BigIntStats } from "node:fs";
import { constants, type FileHandle, open, stat } from "node:fs/promises";

/** An open file; valid while `run` runs. */
export interface OpenFile {
  readonly file: FileHandle;
  readonly sizeBytes: number;
  readonly isFile: boolean;
}

export interface FileHandlesOptions {
  /** Maximum number of files that are cached open. Default 64. */
  filesMax?: number;
  /** A file that was not used between two checks is closed. Default two seconds. */
  idleCheckEveryMs?: number;
}

interface CachedFile extends OpenFile {
  readonly stats: BigIntStats;
  users: number;
  /** Used since the last check. */
  isUsed: boolean;
  /** Not in the cache any more: its last user closes it. */
  isDropped: boolean;
}

export class FileHandles {
  readonly #filesMax: number;
  readonly #idleCheckEveryMs: number;
  /** By path; the least recently used first. */
  readonly #cached = new Map<string, CachedFile>();
  #timer: NodeJS.Timeout | undefined;

  constructor({ filesMax = 64, idleCheckEveryMs = 2000 }: FileHandlesOptions = {}) {
    this.#filesMax = filesMax;
    this.#idleCheckEveryMs = idleCheckEveryMs;
  }

  /** Paths of the files that are cached open. */
  get paths(): string[] {
    return [...this.#cached.keys()];
  }

  /**
   * Runs `run` on the file that has this path during the call, and runs it again if the path went
   * to another file meanwhile. Throws the errors of `run` and of the operating system.
   */
  async withFile<T>(path: string, run: (file: OpenFile) => Promise<T>): Promise<T> {
    const cached = this.#cached.get(path);
    if (cached !== undefined) {
      this.#cached.delete(path);
      this.#cached.set(path, cached);
      cached.users++;
      cached.isUsed = true;
      const [result, now] = await Promise.allSettled([run(cached), stat(path, { bigint: true })]);
      await release(cached);
      if (now.status === "fulfilled" && isSame(now.value, cached.stats)) {
        if (result.status === "rejected") throw result.reason;
        return result.value;
      }
      if (this.#cached.get(path) === cached) await this.drop(path);
    }
    const opened = await openFile(path);
    try {
      if (opened.isFile) await this.#add(path, opened);
      else opened.isDropped = true;
      return await run(opened);
    } finally {
      await release(opened);
    }
  }

  /** Removes the file of this path from the cache; its last reader closes it. */
  async drop(path: string): Promise<void> {
    const cached = this.#cached.get(path);
    if (cached === undefined) return;
    this.#cached.delete(path);
    if (this.#cached.size === 0) this.#stop();
    cached.isDropped = true;
    if (cached.users === 0) await close(cached);
  }

  async #add(path: string, opened: CachedFile): Promise<void> {
    const closing = [this.drop(path)];
    const [oldest] = this.#cached.keys();
    if (this.#cached.size >= this.#filesMax) closing.push(this.drop(oldest));
    this.#cached.set(path, opened);
    this.#timer ??= setInterval(() => this.#closeIdle(), this.#idleCheckEveryMs).unref();
    await Promise.all(closing);
  }

  #closeIdle(): void {
    for (const [path, cached] of this.#cached) {
      if (cached.users > 0) continue;
      if (cached.isUsed) cached.isUsed = false;
      else void this.drop(path);
    }
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

function isSame(a: BigIntStats, b: BigIntStats): boolean {
  return a.ino === b.ino && a.dev === b.dev && a.size === b.size;
}

/** Opens a file with the caller as its only user. */
async function openFile(path: string): Promise<CachedFile> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = await file.stat({ bigint: true });
    const facts = { sizeBytes: Number(stats.size), isFile: stats.isFile() };
    return { file, ...facts, stats, users: 1, isUsed: true, isDropped: false };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function release(cached: CachedFile): Promise<void> {
  cached.users--;
  if (cached.isDropped && cached.users === 0) await close(cached);
}

async function close({ file }: CachedFile): Promise<void> {
  await file.close().catch(ignoreCloseError);
}

/** The file was only read, and the readers have their bytes, so a failed close loses nothing. */
function ignoreCloseError(): void {}
