/**
 * Writes lines to a file descriptor without ever waiting for its reader. A pipe that nobody reads
 * and a stopped terminal would block a plain write and with it the event loop. Pipes and terminals
 * are therefore opened once more, in non-blocking mode: lines that the kernel does not take wait in
 * a bounded buffer, and beyond its bound they are dropped and counted. A write that can be done is
 * done at once, so that a crash loses no line that had a reader.
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
  /** Bytes of lines that wait for the reader. */
  bytesMax: number;
  /** The line that a reader gets which is back, in place of the lines that it missed. */
  droppedLine: (count: number) => string;
}

/** How often lines that wait are tried again. */
const retryMs = 50;

/** A sink over `fd`, which stays the caller's; `stream` writes to the same. */
export function openLineSink(fd: number, stream: Writable, options: LineSinkOptions): LineSink {
  const kind = fstatSync(fd);
  if (kind.isSocket()) return new StreamSink(stream, options);
  if (!kind.isFIFO() && !kind.isCharacterDevice()) return new FileSink(fd, options);
  return new FileSink(reopenNonBlocking(fd) ?? fd, options);
}

/**
 * A second descriptor of the same pipe or terminal with its own flags: setting O_NONBLOCK on the
 * one we were given would change it for every process that shares it. Undefined where the system
 * has no such path; then writes may block, as they would for any program.
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

/** Files, pipes and terminals: synchronous writes that may take a part or nothing. */
class FileSink implements LineSink {
  readonly #fd: number;
  readonly #options: LineSinkOptions;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #droppedLines = 0;
  /** Dropped since the reader was last told. */
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

  /** Bytes that were taken. What has no reader for good (EPIPE, EIO) counts as taken. */
  #tryWrite(bytes: Buffer): number {
    try {
      return writeSync(this.#fd, bytes);
    } catch (error) {
      const isFull = error instanceof Error && "code" in error && error.code === "EAGAIN";
      return isFull ? 0 : bytes.length;
    }
  }
}

/** Sockets (of systemd's journal), which have no path to open: the stream's buffer, bounded. */
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
