/** The few things that the log does to a disk, as a seam where tests let the Nth call fail. */
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
  /** Writes the buffers at a position; may write less than all. Resolves to the bytes written. */
  writev(buffers: readonly Uint8Array[], position: number): Promise<number>;
  /** The data written so far survives a power cut once this resolves. */
  datasync(): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  close(): Promise<void>;
}

export interface LogFs {
  /** Opens for writing. `create`: makes the file or empties it; else it must exist. */
  open(path: string, create: boolean): Promise<LogFile>;
  /** Makes a folder and its parents. Resolves to the topmost one that was not there before. */
  mkdir(path: string): Promise<string | undefined>;
  /** Names in a folder, in no particular order. */
  readdir(path: string): Promise<string[]>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Copies a file; not durable. */
  copy(from: string, to: string): Promise<void>;
  /** The names in the folder survive a power cut once this resolves. */
  syncDir(path: string): Promise<void>;
  /** Bytes that this process may still write to the disk that holds `path`. */
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

/** Writes all bytes of the buffers at a position, also where the system takes them in pieces. */
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

/** Makes a folder that is there after a power cut too, with its parents. */
export async function makeFolderDurably(fs: LogFs, path: string): Promise<void> {
  const top = await fs.mkdir(path);
  if (top === undefined) return;
  let made = path;
  while (made.length >= top.length) {
    made = dirname(made);
    await fs.syncDir(made);
  }
}

/** Makes a file with these bytes, or replaces it: a reader sees the old one or all of the new. */
export async function writeFileDurably(
  fs: LogFs,
  folder: string,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  const file = await createDurably(fs, folder, name, bytes);
  await file.close();
}

/** As `writeFileDurably`, and keeps the file open for more. */
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
