/**
 * Writes lines to a file descriptor without waiting for its reader. A pipe without a reader, or a
 * stopped terminal, would block a plain write and with it the event loop. So pipes and terminals
 * are opened a second time, in non-blocking mode. Lines that the kernel does not accept wait in a
 * bounded buffer; lines beyond the bound are dropped and counted. All other lines are written
 * synchronously, so that a crash loses none of them.
 */
import { constants, fstatSync, openSync, writeSync } from "node:fs";
import type { Writable } from "node:stream";

export interface LineSink {
  /** `line` ends with a newline. */
  write(line: string): void;
  /** Lines dropped so far. */
  readonly droppedLines: number;
}

export interface LineSinkOptions {
  /** Maximum bytes of waiting lines. */
  bytesMax: number;
  /** Returns the line that replaces dropped lines once the reader is back. */
  droppedLine: (count: number) => string;
}

/** Retry interval for waiting lines. */
const retryMs = 50;

/** Opens a sink for `fd`, which the caller keeps; `stream` is a stream of the same descriptor. */
export function openLineSink(fd: number, stream: Writable, options: LineSinkOptions): LineSink {
  const kind = fstatSync(fd);
  if (kind.isSocket()) return new StreamSink(stream, options);
  if (!kind.isFIFO() && !kind.isCharacterDevice()) return new FileSink(fd, options);
  return new FileSink(reopenNonBlocking(fd) ?? fd, options);
}

/**
 * Opens a second descriptor of the same pipe or terminal with its own flags. Setting O_NONBLOCK on
 * `fd` itself would affect every process that shares it. Returns undefined if the system has no
 * such path; then writes may block.
 */
function reopenNonBlocking(fd: number): number | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants;
    return openSync(`/proc/self/fd/${String(fd)}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
  } catch {
    // A hidden /proc, or a terminal of another user.
    return undefined;
  }
}

/** Sink for files, pipes and terminals: synchronous writes, which may write a part or nothing. */
class FileSink implements LineSink {
  readonly #fd: number;
  readonly #options: LineSinkOptions;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #droppedLines = 0;
  /** Lines dropped since the last report to the reader. */
  #unreported = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(fd: number, options: LineSinkOptions) {
    this.#fd = fd;
    this.#options = options;
  }

  get droppedLines(): number {
    return this.#droppedLines;
  }

  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#waitingBytes + bytes.length > this.#options.bytesMax) {
      this.#droppedLines++;
      this.#unreported++;
      return;
    }
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (this.#timer === undefined) this.#drain();
  }

  #drain(): void {
    this.#timer = undefined;
    while (this.#waiting.length > 0) {
      const [bytes] = this.#waiting;
      const count = this.#tryWrite(bytes);
      this.#waitingBytes -= count;
      if (count === bytes.length) this.#waiting.shift();
      else {
        if (count > 0) this.#waiting[0] = bytes.subarray(count);
        this.#timer = setTimeout(() => this.#drain(), retryMs);
        this.#timer.unref();
        return;
      }
    }
    if (this.#unreported === 0) return;
    const line = this.#options.droppedLine(this.#unreported);
    this.#unreported = 0;
    this.write(line);
  }

  /** Returns the bytes written. If the reader is gone (EPIPE, EIO), all count as written. */
  #tryWrite(bytes: Buffer): number {
    try {
      return writeSync(this.#fd, bytes);
    } catch (error) {
      const isFull = error instanceof Error && "code" in error && error.code === "EAGAIN";
      return isFull ? 0 : bytes.length;
    }
  }
}

/** Sink for sockets (systemd's journal), which have no path to reopen; bounds their buffer. */
export class StreamSink implements LineSink {
  readonly #stream: Writable;
  readonly #bytesMax: number;
  #droppedLines = 0;

  constructor(stream: Writable, { bytesMax }: LineSinkOptions) {
    this.#stream = stream;
    this.#bytesMax = bytesMax;
  }

  get droppedLines(): number {
    return this.#droppedLines;
  }

  write(line: string): void {
    if (this.#stream.writableLength + Buffer.byteLength(line) > this.#bytesMax) {
      this.#droppedLines++;
    } else if (!this.#stream.destroyed) this.#stream.write(line);
  }
}
