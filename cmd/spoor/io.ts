/** What a command has of the process that it runs in, so that tests can run it without one. */
import { closeSync, openSync, readSync } from "node:fs";
import { configBytesMax } from "#pkg/config/yaml-file.ts";
import type { Environment } from "#pkg/config/interpolate.ts";
import { SpoorError } from "#pkg/errors/errors.ts";

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
    readFile: readTextFile,
  };
}

function isClosedPipe(error: NodeJS.ErrnoException): boolean {
  return error.code === "EPIPE" || error.code === "ERR_STREAM_DESTROYED";
}

/** Reads a file of at most 1 MiB; see CommandIo.readFile. */
export function readTextFile(path: string): string {
  const buffer = Buffer.alloc(configBytesMax + 1);
  const sizeBytes = readInto(path, buffer);
  if (sizeBytes > configBytesMax) {
    throw new SpoorError("TooLarge", `read ${path}: more than ${String(configBytesMax)} bytes`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(buffer.subarray(0, sizeBytes));
  } catch (cause) {
    throw new SpoorError("InvalidInput", `read ${path}: not UTF-8 text`, { cause });
  }
}

function readInto(path: string, buffer: Buffer): number {
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    let end = 0;
    while (end < buffer.length) {
      const count = readSync(file, buffer, end, buffer.length - end, null);
      if (count === 0) break;
      end += count;
    }
    return end;
  } catch (cause) {
    const isMissing = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    if (isMissing) throw new SpoorError("NotFound", `read ${path}: no such file`, { cause });
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SpoorError("Unavailable", `read ${path}: ${why}`, { cause });
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
