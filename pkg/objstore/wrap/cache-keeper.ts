/**
 * Keeps the folder of a disk cache within its bound: counts the files at the start, and evicts the
 * files with the oldest times when the folder gets full. One thread of the process runs it.
 */
import type { Dirent } from "node:fs";
import { lstat, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "#pkg/clock/clock.ts";
import { type DiskCacheOptions, makeCacheFolder } from "./disk-cache.ts";
import { errnoOf } from "#pkg/objstore/fs/fs-errors.ts";

export interface CacheEvictorOptions extends DiskCacheOptions {
  clock: Clock;
}

interface CachedFile {
  path: string;
  sizeBytes: number;
  worthMs: number;
}

/** Shares of the bound: above the first, files are evicted until the second is reached. */
const fullShare = 0.9;
const sweptShare = 0.75;
const intervalMs = 5000;
/** Unfinished files older than this have no live writer. */
const unfinishedAgeMs = 3_600_000;
/** Files that are examined at the same time. */
const parallelStats = 32;

export class CacheEvictor {
  readonly #options: CacheEvictorOptions;
  readonly #used: BigInt64Array<SharedArrayBuffer>;
  readonly #abort = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(options: CacheEvictorOptions) {
    this.#options = options;
    this.#used = new BigInt64Array(options.used);
  }

  /** Creates the folder if needed and counts its files. Throws InvalidInput if it is unusable. */
  async start(): Promise<void> {
    await makeCacheFolder(this.#options.dir);
    await this.sweep();
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#loop;
  }

  /** Counts the files and evicts those with the oldest times if the folder is too full. */
  async sweep(): Promise<void> {
    const { bytesMax, ledger } = this.#options;
    const before = Atomics.load(this.#used, 0);
    const files = await this.#files();
    const total = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    // The difference is added, so that concurrent additions and removals stay counted.
    Atomics.add(this.#used, 0, BigInt(total) - before);
    let left = total;
    if (left <= bytesMax * fullShare) return;
    for (const file of files.toSorted((a, b) => a.worthMs - b.worthMs)) {
      if (left <= bytesMax * sweptShare) return;
      if (!(await removeFile(file.path))) continue;
      left -= file.sizeBytes;
      Atomics.sub(this.#used, 0, BigInt(file.sizeBytes));
      ledger.addEvent("diskEvicted");
    }
  }

  async #run(): Promise<void> {
    const { clock, bytesMax, ledger } = this.#options;
    const { signal } = this.#abort;
    while (!signal.aborted) {
      try {
        await clock.sleep(intervalMs, signal);
        const used = Number(Atomics.load(this.#used, 0));
        if (used > bytesMax * fullShare) await this.sweep();
      } catch {
        // The folder stays over its bound until a sweep succeeds.
        if (!signal.aborted) ledger.addEvent("diskFailure");
      }
    }
  }

  async #files(): Promise<CachedFile[]> {
    const { dir, clock } = this.#options;
    const nowMs = clock.nowMs();
    const paths: string[] = [];
    for (const folder of await foldersOf(dir)) {
      for (const { name } of await readIfThere(folder)) paths.push(join(folder, name));
    }
    const files: CachedFile[] = [];
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < paths.length) {
        const path = paths[next++];
        const found = await fileAt(path);
        if (found === undefined) continue;
        const isOld = nowMs - found.worthMs > unfinishedAgeMs;
        if (!path.endsWith(".tmp")) files.push(found);
        else if (isOld) await removeFile(path);
      }
    };
    await Promise.all(Array.from({ length: parallelStats }, lane));
    return files;
  }
}

async function foldersOf(dir: string): Promise<string[]> {
  const entries = await readIfThere(dir);
  return entries
    .filter((entry) => entry.isDirectory() && /^[0-9a-f]{2}$/u.test(entry.name))
    .map(({ name }) => join(dir, name));
}

async function readIfThere(dir: string): Promise<Dirent[]> {
  try {
    return await readdir(dir, { withFileTypes: true });
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}

async function fileAt(path: string): Promise<CachedFile | undefined> {
  try {
    const { size, mtimeMs } = await lstat(path);
    return { path, sizeBytes: size, worthMs: mtimeMs };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Removes a file. Returns false if it was removed already. */
async function removeFile(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
}
