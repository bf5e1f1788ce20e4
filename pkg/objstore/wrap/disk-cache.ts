/**
 * Caches ranges of objects in a folder of the local disk. The cache survives restarts, is shared by
 * all threads of the process, and verifies each range that it returns.
 *
 *     <dir>/3f/3fa9...c2          | magic | CRC-32 | id bytes | body bytes | id | body |
 *     <dir>/3f/<uuid>.tmp         unfinished
 *
 * A rename publishes a complete file. Nothing is fsynced: after a power cut a file may be torn; its
 * checksum detects this, and the file is removed. The modification time of a file is its eviction
 * priority: it starts at the time of the write, each use moves it forward, and the oldest files are
 * evicted first (`cache-keeper.ts`). So frequently used files outlive recently used ones, and no
 * index is needed.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, rename, unlink, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { SpoorError } from "#pkg/errors/errors.ts";
import { errnoOf } from "#pkg/objstore/fs/fs-errors.ts";
import type { StoreLedger } from "#pkg/objstore/ledger.ts";

export interface DiskCacheOptions {
  dir: string;
  /** Maximum bytes of all files; beyond it nothing is added until some are evicted. */
  bytesMax: number;
  /** A 64-bit counter of the bytes in the folder, shared by all threads that use it. */
  used: SharedArrayBuffer;
  ledger: StoreLedger;
}

const magic = 0x31435053;
const headBytes = 16;
/** Larger ranges are not cached. 32 MiB. */
const bodyBytesMax = 32 * 1024 * 1024;
/** Each use moves a file's time forward by `useCreditMs`, up to `creditMaxMs` ahead of now. */
const useCreditMs = 10 * 60_000;
const creditMaxMs = 24 * 3_600_000;
/** Maximum bytes of writes in flight; ranges beyond it are not cached. 64 MiB. */
const writingBytesMax = 64 * 1024 * 1024;

export class DiskCache {
  readonly #options: DiskCacheOptions;
  readonly #used: BigInt64Array<SharedArrayBuffer>;
  readonly #writes = new Set<Promise<void>>();
  #writingBytes = 0;

  constructor(options: DiskCacheOptions) {
    this.#options = options;
    this.#used = new BigInt64Array(options.used);
  }

  /** Returns undefined if the range is missing or damaged (then it is removed). Never throws. */
  async read(id: string): Promise<Uint8Array | undefined> {
    const path = this.#pathOf(id);
    try {
      await using file = await open(path, "r");
      const { size, mtimeMs } = await file.stat();
      const bytes = new Uint8Array(size);
      const { bytesRead } = await file.read(bytes, 0, size, 0);
      const body = bytesRead === size ? bodyOf(bytes, id) : undefined;
      if (body === undefined) {
        this.#options.ledger.addEvent("diskCorrupt");
        await this.#remove(path, size);
        return undefined;
      }
      const nowMs = Date.now();
      const worthMs = Math.min(Math.max(mtimeMs, nowMs) + useCreditMs, nowMs + creditMaxMs);
      await utimes(path, nowMs / 1000, worthMs / 1000);
      return body;
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") this.#options.ledger.addEvent("diskFailure");
      return undefined;
    }
  }

  /**
   * Caches `body`, which must not change any more, if the folder has space. Returns before the disk
   * has the bytes.
   */
  write(id: string, body: Uint8Array): void {
    const { bytesMax, ledger } = this.#options;
    if (body.length > bodyBytesMax || this.#writingBytes >= writingBytesMax) return;
    const sizeBytes = headBytes + Buffer.byteLength(id) + body.length;
    if (Atomics.add(this.#used, 0, BigInt(sizeBytes)) + BigInt(sizeBytes) > BigInt(bytesMax)) {
      Atomics.sub(this.#used, 0, BigInt(sizeBytes));
      ledger.addEvent("diskFull");
      return;
    }
    this.#writingBytes += sizeBytes;
    const writing = this.#write(id, body)
      .catch(() => {
        Atomics.sub(this.#used, 0, BigInt(sizeBytes));
        ledger.addEvent("diskFailure");
      })
      .finally(() => {
        this.#writingBytes -= sizeBytes;
        this.#writes.delete(writing);
      });
    this.#writes.add(writing);
  }

  /** Removes a range whose content a reader found to be damaged. Never throws. */
  async remove(id: string): Promise<void> {
    const path = this.#pathOf(id);
    try {
      await using file = await open(path, "r");
      await this.#remove(path, (await file.stat()).size);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") this.#options.ledger.addEvent("diskFailure");
    }
  }

  /** Waits until no write is in flight. */
  async idle(): Promise<void> {
    await Promise.all(this.#writes);
  }

  async #remove(path: string, sizeBytes: number): Promise<void> {
    await unlink(path);
    Atomics.sub(this.#used, 0, BigInt(sizeBytes));
  }

  async #write(id: string, body: Uint8Array): Promise<void> {
    const path = this.#pathOf(id);
    const folder = dirname(path);
    const unfinished = join(folder, `${randomUUID()}.tmp`);
    const bytes = Buffer.concat([headOf(id, body), Buffer.from(id), body]);
    try {
      await writeFile(unfinished, bytes, { flag: "wx" });
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
      await mkdir(folder, { recursive: true });
      await writeFile(unfinished, bytes, { flag: "wx" });
    }
    try {
      await rename(unfinished, path);
    } catch (error) {
      await unlink(unfinished);
      throw error;
    }
  }

  #pathOf(id: string): string {
    const name = createHash("sha256").update(id).digest("hex");
    return join(this.#options.dir, name.slice(0, 2), name);
  }
}

function headOf(id: string, body: Uint8Array): Buffer {
  const head = Buffer.alloc(headBytes);
  head.writeUInt32LE(magic, 0);
  head.writeUInt32LE(crc32(body, crc32(id)), 4);
  head.writeUInt32LE(Buffer.byteLength(id), 8);
  head.writeUInt32LE(body.length, 12);
  return head;
}

/** Returns undefined if the file is torn, damaged, or holds another id. */
function bodyOf(bytes: Uint8Array, id: string): Uint8Array | undefined {
  if (bytes.length < headBytes) return undefined;
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, headBytes);
  const idEnd = headBytes + head.readUInt32LE(8);
  const end = idEnd + head.readUInt32LE(12);
  if (head.readUInt32LE(0) !== magic || end !== bytes.length) return undefined;
  const found = Buffer.from(bytes.buffer, bytes.byteOffset + headBytes, idEnd - headBytes);
  if (found.toString("utf8") !== id) return undefined;
  const body = bytes.subarray(idEnd);
  return crc32(body, crc32(id)) === head.readUInt32LE(4) ? body : undefined;
}

/** Creates the folder and checks that it is writable. Throws InvalidInput if not. */
export async function makeCacheFolder(dir: string): Promise<void> {
  try {
    await mkdir(dir, { recursive: true });
    const probe = join(dir, `${randomUUID()}.tmp`);
    await writeFile(probe, "", { flag: "wx" });
    await unlink(probe);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "";
    const message = `create cache folder ${dir}: ${why}`;
    throw new SpoorError("InvalidInput", message, { reason: "cache_folder", cause });
  }
}
