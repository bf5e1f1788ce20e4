/**
 * Opens files that a user names, and files of the data folder. Opening a pipe or reading a device
 * may block for ever, and a thread that is blocked in `open` cannot be terminated. So files are
 * opened in non-blocking mode, and anything but a regular file is refused.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from "node:fs";
import { open } from "node:fs/promises";
import { SpoorError } from "#pkg/errors/errors.ts";

const readFlags = constants.O_RDONLY | constants.O_NONBLOCK;

/**
 * Opens a regular file for reading; returns the descriptor, which the caller closes. Throws
 * InvalidInput `not_a_file`, and the errors of the operating system.
 */
export function openRegularFile(path: string): number {
  const fd = openSync(path, readFlags);
  try {
    checkRegular(path, fstatSync(fd));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Reads a whole regular file. Throws like `openRegularFile`. */
export function readRegularFile(path: string): Buffer {
  const fd = openRegularFile(path);
  try {
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Reads a whole regular file on the thread pool, in chunks. Throws like `openRegularFile`, and
 * TooLarge if the file has more than `bytesMax` bytes.
 */
export async function readRegularFileAsync(path: string, bytesMax: number): Promise<Buffer> {
  await using handle = await open(path, readFlags);
  const stats = await handle.stat();
  checkRegular(path, stats);
  if (stats.size > bytesMax) {
    const message = `read ${path}: it has ${stats.size} bytes, at most ${bytesMax} are allowed`;
    throw new SpoorError("TooLarge", message);
  }
  return await handle.readFile();
}

function checkRegular(path: string, stats: Stats): void {
  if (stats.isFile()) return;
  const message = `open ${path}: it is ${kindOf(stats)}, not a regular file`;
  throw new SpoorError("InvalidInput", message, { reason: "not_a_file" });
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return "a folder";
  if (stats.isFIFO()) return "a pipe";
  if (stats.isCharacterDevice() || stats.isBlockDevice()) return "a device";
  return stats.isSocket() ? "a socket" : "a special file";
}
