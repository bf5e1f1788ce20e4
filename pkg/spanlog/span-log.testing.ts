/** Test support: a manual clock, a log that records its lines, and a disk with injected faults. */
import { mkdtempSync, rmSync, writeSync, openSync, closeSync, ftruncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "#pkg/clock/clock.ts";
import type { Log, LogFields } from "#pkg/log/log.ts";
import { openFileLogReader } from "./file-log-reader.ts";
import { openFileLog, type FileLogOptions } from "./file-log.ts";
import { nodeLogFs, type LogFile, type LogFs } from "./log-fs.ts";
import type { LogGap, SpanLog } from "./span-log.ts";

export class HandClock implements Clock {
  /** Time that passes for both clocks. */
  ms = 1_800_000_000_000;
  /** How far the wall clock was stepped. */
  steppedMs = 0;
  nowMs(): number {
    return this.ms + this.steppedMs;
  }
  monotonicMs(): number {
    return this.ms;
  }
  sleep(_ms: number): Promise<void> {
    return Promise.resolve();
  }
}

export class KeptLog implements Log {
  readonly lines: { level: string; message: string; fields: LogFields }[] = [];
  debug(fields: LogFields, message: string): void {
    this.lines.push({ level: "debug", message, fields });
  }
  info(fields: LogFields, message: string): void {
    this.lines.push({ level: "info", message, fields });
  }
  warn(fields: LogFields, message: string): void {
    this.lines.push({ level: "warn", message, fields });
  }
  error(fields: LogFields, message: string): void {
    this.lines.push({ level: "error", message, fields });
  }
  child(): Log {
    return this;
  }
}

/** A temporary folder that is deleted on disposal. */
export class TempDir implements Disposable {
  readonly path: string = mkdtempSync(join(tmpdir(), "spanlog-"));
  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export type FsCall =
  | "open"
  | "mkdir"
  | "readdir"
  | "rename"
  | "unlink"
  | "copy"
  | "syncDir"
  | "freeBytes"
  | "writev"
  | "datasync"
  | "truncate";

/** Fault of a call: no effect, half of it, or all of it before the error; or a short write. */
export type Failure = "before" | "half" | "after" | "short";

/**
 * The real disk, with faults that `decide` injects. Syncs do nothing: within one process a test
 * cannot observe the difference.
 */
export class FaultyFs implements LogFs {
  calls: FsCall[] = [];
  free: number = Number.MAX_SAFE_INTEGER;
  /** Writes to files whose sync had failed: later syncs of such files prove nothing. */
  writesAfterFailedSync = 0;
  decide: (call: FsCall, path: string) => Failure | undefined = () => undefined;

  open(path: string, create: boolean): Promise<LogFile> {
    return this.run("open", path, async () => {
      const file = await nodeLogFs.open(path, create);
      return new FaultyFile(this, path, file);
    });
  }
  mkdir(path: string): Promise<string | undefined> {
    return this.run("mkdir", path, () => nodeLogFs.mkdir(path));
  }
  readdir(path: string): Promise<string[]> {
    return this.run("readdir", path, () => nodeLogFs.readdir(path));
  }
  rename(from: string, to: string): Promise<void> {
    return this.run("rename", to, () => nodeLogFs.rename(from, to));
  }
  unlink(path: string): Promise<void> {
    return this.run("unlink", path, () => nodeLogFs.unlink(path));
  }
  copy(from: string, to: string): Promise<void> {
    return this.run("copy", to, () => nodeLogFs.copy(from, to));
  }
  syncDir(path: string): Promise<void> {
    return this.run("syncDir", path, () => Promise.resolve());
  }
  freeBytes(path: string): Promise<number> {
    return this.run("freeBytes", path, () => Promise.resolve(this.free));
  }

  async run<T>(call: FsCall, path: string, real: () => Promise<T>): Promise<T> {
    this.calls.push(call);
    const failure = this.decide(call, path);
    if (failure === undefined || failure === "short") return real();
    if (failure === "after") await real();
    throw diskError(call);
  }
}

class FaultyFile implements LogFile {
  readonly #fs: FaultyFs;
  readonly #path: string;
  readonly #file: LogFile;
  #hasFailedSync = false;

  constructor(fs: FaultyFs, path: string, file: LogFile) {
    this.#fs = fs;
    this.#path = path;
    this.#file = file;
  }

  async writev(buffers: readonly Uint8Array[], position: number): Promise<number> {
    this.#fs.calls.push("writev");
    if (this.#hasFailedSync) this.#fs.writesAfterFailedSync++;
    const failure = this.#fs.decide("writev", this.#path);
    if (failure === undefined) return this.#file.writev(buffers, position);
    const all = Buffer.concat(buffers);
    const part = all.subarray(0, failure === "before" ? 0 : Math.ceil(all.length / 2));
    if (failure === "after") await this.#file.writev(buffers, position);
    else if (part.length > 0) await this.#file.writev([part], position);
    if (failure === "short") return part.length;
    throw diskError("writev");
  }

  datasync(): Promise<void> {
    return this.#fs
      .run("datasync", this.#path, () => Promise.resolve())
      .catch((error: unknown) => {
        this.#hasFailedSync = true;
        throw error;
      });
  }

  truncate(sizeBytes: number): Promise<void> {
    return this.#fs.run("truncate", this.#path, () => this.#file.truncate(sizeBytes));
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

function diskError(call: string): Error {
  return Object.assign(new Error(`EIO: injected failure of ${call}`), { code: "EIO" });
}

/** Opens a log with small limits, so that short tests reach them. */
export function openTestLog(dir: string, options: Partial<FileLogOptions> = {}): Promise<SpanLog> {
  return openFileLog(dir, {
    clock: new HandClock(),
    log: new KeptLog(),
    fs: new FaultyFs(),
    partitionCount: 2,
    segmentBytesMax: 1000,
    freeBytesMin: 0,
    ...options,
  });
}

export interface ReadAll {
  records: { offset: number; tenant: string; appendedMs: number; text: string }[];
  gaps: LogGap[];
}

/** Reads [from, to) with a new reader, in windows of `bytesMax`. Text is latin1. */
export function readAll(
  dir: string,
  partition: number,
  range: { from: number; to: number; bytesMax?: number },
): ReadAll {
  using reader = openFileLogReader(dir, partition);
  const all: ReadAll = { records: [], gaps: [] };
  let next = range.from;
  while (next < range.to) {
    const batch = reader.read(next, range.to, { bytesMax: range.bytesMax ?? 300 });
    for (const { offset, tenant, appendedMs, bytes } of batch.records) {
      all.records.push({ offset, tenant, appendedMs, text: Buffer.from(bytes).toString("latin1") });
    }
    all.gaps.push(...batch.gaps);
    if (batch.nextOffset <= next) throw new Error(`reader stands still at ${next}`);
    next = batch.nextOffset;
  }
  return all;
}

/** Overwrites bytes of an existing file. */
export function patchFile(path: string, position: number, bytes: Uint8Array): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, position);
  closeSync(fd);
}

export function cutFile(path: string, sizeBytes: number): void {
  const fd = openSync(path, "r+");
  ftruncateSync(fd, sizeBytes);
  closeSync(fd);
}
