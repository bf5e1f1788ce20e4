/**
 * Files that were read lately stay open: a block is read in many small ranges, and opening, asking
 * for the size and closing cost more than the read.
 *
 * A name can be given to another file at any time, also by another process. So each use asks, while
 * it reads, which file has the name now: a file that is open keeps its inode number for itself, so
 * the same number is the same file. If it is another one, that is opened and read instead.
 *
 * A deleted file takes its space on the disk until it is closed: what the store itself replaces or
 * deletes is closed at once, the rest when it was not used for a while.
 */
import type { BigIntStats } from "node:fs";
import { constants, type FileHandle, open, stat } from "node:fs/promises";

/** What may be read of a file, while `run` runs. */
export interface OpenFile {
  readonly file: FileHandle;
  readonly sizeBytes: number;
  readonly isFile: boolean;
}

export interface FileHandlesOptions {
  /** Files that are kept open at the most. 64. */
  filesMax?: number;
  /** What was not used between two looks is closed. Two seconds. */
  lookEveryMs?: number;
}

interface Kept extends OpenFile {
  readonly stats: BigIntStats;
  users: number;
  /** Since the last look. */
  isUsed: boolean;
  /** Closed when its last user has done. */
  isDropped: boolean;
}

export class FileHandles {
  readonly #filesMax: number;
  readonly #lookEveryMs: number;
  /** By path; the least recently used first. */
  readonly #kept = new Map<string, Kept>();
  #timer: NodeJS.Timeout | undefined;

  constructor({ filesMax = 64, lookEveryMs = 2000 }: FileHandlesOptions = {}) {
    this.#filesMax = filesMax;
    this.#lookEveryMs = lookEveryMs;
  }

  /** Paths of the files that are kept open. */
  get paths(): string[] {
    return [...this.#kept.keys()];
  }

  /**
   * Runs `run` on the file that has this name during the call; a second time if the name went to
   * another one meanwhile. Throws what it throws, and the errors of the operating system.
   */
  async withFile<T>(path: string, run: (file: OpenFile) => Promise<T>): Promise<T> {
    const kept = this.#kept.get(path);
    if (kept !== undefined) {
      this.#kept.delete(path);
      this.#kept.set(path, kept);
      kept.users++;
      kept.isUsed = true;
      const [answer, now] = await Promise.allSettled([run(kept), stat(path, { bigint: true })]);
      await release(kept);
      if (now.status === "fulfilled" && isSame(now.value, kept.stats)) {
        if (answer.status === "rejected") throw answer.reason;
        return answer.value;
      }
      if (this.#kept.get(path) === kept) await this.drop(path);
    }
    const opened = await openFile(path);
    try {
      if (opened.isFile) await this.#keep(path, opened);
      else opened.isDropped = true;
      return await run(opened);
    } finally {
      await release(opened);
    }
  }

  /** Forgets the file of this name at once; it is closed when nobody reads it any more. */
  async drop(path: string): Promise<void> {
    const kept = this.#kept.get(path);
    if (kept === undefined) return;
    this.#kept.delete(path);
    if (this.#kept.size === 0) this.#stop();
    kept.isDropped = true;
    if (kept.users === 0) await close(kept);
  }

  async #keep(path: string, opened: Kept): Promise<void> {
    const closing = [this.drop(path)];
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= this.#filesMax) closing.push(this.drop(oldest));
    this.#kept.set(path, opened);
    this.#timer ??= setInterval(() => this.#look(), this.#lookEveryMs).unref();
    await Promise.all(closing);
  }

  #look(): void {
    for (const [path, kept] of this.#kept) {
      if (kept.users > 0) continue;
      if (kept.isUsed) kept.isUsed = false;
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

/** With its caller as its only user. */
async function openFile(path: string): Promise<Kept> {
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

async function release(kept: Kept): Promise<void> {
  kept.users--;
  if (kept.isDropped && kept.users === 0) await close(kept);
}

async function close({ file }: Kept): Promise<void> {
  await file.close().catch(() => "it was only read: whoever read it has what it asked for");
}
