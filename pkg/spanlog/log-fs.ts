/** The disk operations of the log, as an interface; tests fail its Nth call. */
import { open, fdatasync, ftruncate, close, writev } from "node:fs";
import {
  copyFile,
  mkdir,
  open as openHandle,
  readdir,
  rename,
  statfs,
  unlink,
} from "node:fs/promises";
import { dirname } from "node:path";

/** A file open for writing. All methods reject with Node's errors. */
export interface LogFile {
  /** Writes the buffers at a position. Returns the number of bytes written, which may be fewer. */
  writev(buffers: readonly Uint8Array[], position: number): Promise<number>;
  /** Syncs the data: bytes written so far survive a power cut once this resolves. */
  datasync(): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  close(): Promise<void>;
}

export interface LogFs {
  /** Opens for writing. `create` creates or truncates the file; otherwise it must exist. */
  open(path: string, create: boolean): Promise<LogFile>;
  /** Creates a folder and its parents. Returns the topmost created folder, if any. */
  mkdir(path: string): Promise<string | undefined>;
  /** Lists the names in a folder, in no particular order. */
  readdir(path: string): Promise<string[]>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Copies a file; not durable. */
  copy(from: string, to: string): Promise<void>;
  /** Syncs a folder: its names survive a power cut once this resolves. */
  syncDir(path: string): Promise<void>;
  /** Returns the bytes that this process may still write to the disk that holds `path`. */
  freeBytes(path: string): Promise<number>;
}

/** The real disk. */
export const nodeLogFs: LogFs = {
  open: (path, create) =>
    new Promise((resolve, reject) => {
      open(path, create ? "w" : "r+", 0o600, (error, fd) =>
        error === null ? resolve(new NodeLogFile(fd)) : reject(error),
      );
    }),
  mkdir: (path) => mkdir(path, { recursive: true }),
  readdir: (path) => readdir(path),
  rename,
  unlink,
  copy: (from, to) => copyFile(from, to),
  syncDir: async (path) => {
    const handle = await openHandle(path, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  freeBytes: async (path) => {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  },
};

class NodeLogFile implements LogFile {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  writev(buffers: readonly Uint8Array[], position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      writev(this.#fd, buffers, position, (error, bytesWritten) =>
        error === null ? resolve(bytesWritten) : reject(error),
      );
    });
  }

  datasync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fdatasync(this.#fd, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  truncate(sizeBytes: number): Promise<void> {
    return new Promise((resolve, reject) => {
      ftruncate(this.#fd, sizeBytes, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  close(): Promise<void> {
    return new Promise((resolve, reject) => {
      close(this.#fd, (error) => (error ? reject(error) : resolve()));
    });
  }
}

/** Writes all bytes of the buffers at a position, in several writes if needed. */
export async function writeAll(
  file: LogFile,
  buffers: readonly Uint8Array[],
  position: number,
): Promise<void> {
  let total = 0;
  for (const buffer of buffers) total += buffer.byteLength;
  let rest = buffers;
  let written = 0;
  while (written < total) {
    const count = await file.writev(rest, position + written);
    if (count <= 0) throw new Error(`write of ${total - written} bytes wrote ${count}`);
    written += count;
    if (written < total) rest = dropBytes(rest, count);
  }
}

/** Creates a folder and its parents durably. */
export async function makeFolderDurably(fs: LogFs, path: string): Promise<void> {
  const top = await fs.mkdir(path);
  if (top === undefined) return;
  let made = path;
  while (made.length >= top.length) {
    made = dirname(made);
    await fs.syncDir(made);
  }
}

/** Creates or replaces a file durably and atomically. */
export async function writeFileDurably(
  fs: LogFs,
  folder: string,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  const file = await createDurably(fs, folder, name, bytes);
  await file.close();
}

/** Like `writeFileDurably`, but returns the open file for further writes. */
export async function createDurably(
  fs: LogFs,
  folder: string,
  name: string,
  bytes: Uint8Array,
): Promise<LogFile> {
  const path = `${folder}/${name}`;
  const file = await fs.open(`${path}.tmp`, true);
  try {
    await writeAll(file, [bytes], 0);
    await file.datasync();
    await fs.rename(`${path}.tmp`, path);
    await fs.syncDir(folder);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function dropBytes(buffers: readonly Uint8Array[], count: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skip = count;
  for (const buffer of buffers) {
    if (skip >= buffer.byteLength) skip -= buffer.byteLength;
    else {
      rest.push(buffer.subarray(skip));
      skip = 0;
    }
  }
  return rest;
}
