/** The process interface of a command, which tests can replace. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { configBytesMax, type Environment } from "#pkg/config/config.ts";
import { SpoorError } from "#pkg/errors/errors.ts";

/** How long a pipe in place of a config file may deliver nothing, milliseconds. */
const pipeWaitMs = 5000;
const pipePollMs = 10;

export interface CommandIo {
  env: Environment;
  /** Writes to stdout. Resolves when the text is written, or when the reader has closed stdout. */
  out: (text: string) => Promise<void>;
  /** Writes to stderr. */
  err: (text: string) => void;
  /** Whether stdout is a terminal. */
  isTerminal: boolean;
  /** Reads a text file of at most 1 MiB. Throws NotFound, InvalidInput, TooLarge, Unavailable. */
  readFile: (path: string) => string;
}

/** Returns the io of this process. A reader that closes stdout (`spoor ... | head`) is no error. */
export function processIo(): CommandIo {
  const { stdout, stderr } = process;
  // Without listeners these errors would end the process; `write` reports them to its caller.
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
 * Reads a file of at most 1 MiB; see CommandIo.readFile. The file may be a pipe, as in
 * `--config <(decrypt config.yaml)`. Throws Unavailable if a pipe delivers nothing for `silentMs`,
 * because the process receives no signals while it waits.
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
    // Without this flag, `open` would wait forever for a writer of the pipe.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const isPipe = fstatSync(file).isFIFO();
    let end = 0;
    let waitMs = silentMs;
    while (end < buffer.length) {
      const count = readAvailable(file, buffer, end);
      // A pipe without a writer reads like a pipe at its end, but it has delivered nothing.
      const isSilent = count === undefined || (count === 0 && isPipe && end === 0);
      if (count !== undefined && !isSilent) {
        if (count === 0) break;
        end += count;
        waitMs = silentMs;
        continue;
      }
      if (waitMs <= 0) throw new Error("it is a pipe or device without data");
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

/** Returns the number of bytes read, 0 at the end; undefined if there is no data now. */
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
