/** What a command has of the process that it runs in, so that tests can run it without one. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { configBytesMax } from "#pkg/config/yaml-file.ts";
import type { Environment } from "#pkg/config/interpolate.ts";
import { SpoorError } from "#pkg/errors/errors.ts";

/** How long a pipe in place of a config file may stay silent. */
const pipeWaitMs = 5000;
const pipePollMs = 10;

export interface CommandIo {
  env: Environment;
  /** Writes to stdout; resolves when it is written, or when nobody reads stdout any more. */
  out: (text: string) => Promise<void>;
  /** Writes to stderr. */
  err: (text: string) => void;
  /** Whether stdout is a terminal. */
  isTerminal: boolean;
  /** A text file of at most 1 MiB. Errors: NotFound, InvalidInput, TooLarge, Unavailable. */
  readFile: (path: string) => string;
}

/** The real process. A reader that goes away (`spoor trace ... | head`) is no error. */
export function processIo(): CommandIo {
  const { stdout, stderr } = process;
  // Without listeners these would end the process; `write` reports them to whom they concern.
  stdout.on("error", () => {});
  stderr.on("error", () => {});
  return {
    env: process.env,
    out: (text) =>
      new Promise((resolve, reject) => {
        if (stdout.destroyed) {
          resolve();
          return;
        }
        stdout.write(text, (error) => {
          if (!error || isClosedPipe(error)) resolve();
          else reject(new SpoorError("Unavailable", `write to stdout: ${error.message}`));
        });
      }),
    err: (text) => void stderr.write(text),
    isTerminal: stdout.isTTY,
    readFile: (path) => readTextFile(path),
  };
}

function isClosedPipe(error: NodeJS.ErrnoException): boolean {
  return error.code === "EPIPE" || error.code === "ERR_STREAM_DESTROYED";
}

/**
 * Reads a file of at most 1 MiB; see CommandIo.readFile. It may be a pipe, as with
 * `--config <(decrypt config.yaml)`; silent for `silentMs` it is an error (Unavailable),
 * as no signal gets through to a process that waits for it.
 */
export function readTextFile(path: string, silentMs: number = pipeWaitMs): string {
  const buffer = Buffer.alloc(configBytesMax + 1);
  const sizeBytes = readInto(path, buffer, silentMs);
  if (sizeBytes > configBytesMax) {
    throw new SpoorError("TooLarge", `read ${path}: more than ${String(configBytesMax)} bytes`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(buffer.subarray(0, sizeBytes));
  } catch (cause) {
    throw new SpoorError("InvalidInput", `read ${path}: not UTF-8 text`, { cause });
  }
}

function readInto(path: string, buffer: Buffer, silentMs: number): number {
  let file: number | undefined;
  try {
    // Without the flag this would wait for a writer of the pipe, for ever.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const isPipe = fstatSync(file).isFIFO();
    let end = 0;
    let waitMs = silentMs;
    while (end < buffer.length) {
      const count = readAvailable(file, buffer, end);
      // A pipe without a writer looks like one whose writer is done: the first has brought nothing.
      const isSilent = count === undefined || (count === 0 && isPipe && end === 0);
      if (count !== undefined && !isSilent) {
        if (count === 0) break;
        end += count;
        waitMs = silentMs;
        continue;
      }
      if (waitMs <= 0) throw new Error("it is a pipe or device that brings nothing");
      pause(pipePollMs);
      waitMs -= pipePollMs;
    }
    return end;
  } catch (cause) {
    const isMissing = isCode(cause, "ENOENT");
    if (isMissing) throw new SpoorError("NotFound", `read ${path}: no such file`, { cause });
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SpoorError("Unavailable", `read ${path}: ${why}`, { cause });
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** The count of bytes that were read, 0 at the end; undefined while there is nothing to read. */
function readAvailable(file: number, buffer: Buffer, end: number): number | undefined {
  try {
    return readSync(file, buffer, end, buffer.length - end, null);
  } catch (error) {
    if (isCode(error, "EAGAIN")) return undefined;
    throw error;
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
