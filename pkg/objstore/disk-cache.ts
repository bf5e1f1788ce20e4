/**
 * Ranges of objects in a folder of the local disk: found again after a restart, shared by all
 * threads of the process, never wrong.
 *
 *     <dir>/3f/3fa9...c2          | magic | CRC-32 | id bytes | body bytes | id | body |
 *     <dir>/3f/<uuid>.tmp         unfinished
 *
 * A file appears whole, by rename. Nothing is fsynced: after a power cut a file may be torn, which
 * its checksum shows, and it is removed. The time of a file is its worth: a file is born with the
 * time of its writing, each use moves it forward, and the oldest go first (`cache-keeper.ts`). So
 * what is used often stays longer than what was used lately, and both need no index.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, rename, unlink, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { SpoorError } from "#pkg/errors/errors.ts";
import { errnoOf } from "./fs-errors.ts";
import type { StoreLedger } from "./ledger.ts";

export interface DiskCacheOptions {
  dir: string;
  /** Bytes of all files; beyond it nothing is added until the keeper has removed some. */
  bytesMax: number;
  /** 8 bytes, shared by all threads that use the folder: what is in it. */
  used: SharedArrayBuffer;
  ledger: StoreLedger;
}

const magic = 0x31435053;
const headBytes = 16;
/** Larger ranges are not worth their place. 32 MiB. */
const bodyBytesMax = 32 * 1024 * 1024;
/** A use moves a file's time forward by this much, up to a bound ahead of now. */
const useCreditMs = 10 * 60_000;
const creditMaxMs = 24 * 3_600_000;
/** Bytes of writes that are under way; ranges that come meanwhile are not kept. 64 MiB. */
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

  /** Undefined if it is not there, or is damaged (then it is removed). Never throws. */
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

  /** Keeps `body`, which must not change any more, if there is room. Does not wait for the disk. */
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

  /** Removes what turned out to be damaged in the bucket's own terms. Never throws. */
  async remove(id: string): Promise<void> {
    const path = this.#pathOf(id);
    try {
      await using file = await open(path, "r");
      await this.#remove(path, (await file.stat()).size);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") this.#options.ledger.addEvent("diskFailure");
    }
  }

  /** Resolves when nothing is being written. */
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

/** Undefined if the file is not whole, not right, or another's. */
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

/** Checks that the folder can be used. Throws InvalidInput. */
export async function makeCacheFolder(dir: string): Promise<void> {
  try {
    await mkdir(dir, { recursive: true });
    const probe = join(dir, `${randomUUID()}.tmp`);
    await writeFile(probe, "", { flag: "wx" });
    await unlink(probe);
  } catch (cause) {
    const message = `use folder ${dir} as a cache: ${cause instanceof Error ? cause.message : ""}`;
    throw new SpoorError("InvalidInput", message, { reason: "cache_folder", cause });
  }
}
