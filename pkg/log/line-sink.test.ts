import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openLineSink, StreamSink } from "./line-sink.ts";

let dir = "";
const open: number[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "spoor-sink-"));
});

afterEach(() => {
  for (const fd of open.splice(0)) closeSync(fd);
  rmSync(dir, { recursive: true, force: true });
});

const droppedLine = (count: number): string => `dropped ${String(count)}\n`;

/** A pipe whose write end blocks, like the stderr of a process. */
function openPipe(): { reader: number; writer: number } {
  const path = join(dir, "pipe");
  execFileSync("mkfifo", [path]);
  // The reader does not block, so that a failing test ends; the writer needs a reader to open.
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  open.push(reader, writer);
  return { reader, writer };
}

function readAll(reader: number): string {
  const buffer = Buffer.alloc(1024 * 1024);
  let text = "";
  for (;;) {
    let count: number;
    try {
      count = readSync(reader, buffer);
    } catch {
      // EAGAIN: nothing more for now.
      return text;
    }
    if (count === 0) return text;
    text += buffer.toString("utf8", 0, count);
  }
}

test("a file gets every line at once", () => {
  const path = join(dir, "file");
  const fd = openSync(path, "a");
  open.push(fd);
  const sink = openLineSink(fd, process.stderr, { bytesMax: 10, droppedLine });
  sink.write("one\n");
  sink.write("two\n");
  expect(readFileSync(path, "utf8")).toBe("one\ntwo\n");
  expect(sink.droppedLines).toBe(0);
});

test("a blocked stream stays within its bound", () => {
  const stream = new Writable({ write: () => {} });
  const sink = new StreamSink(stream, { bytesMax: 10, droppedLine });
  sink.write("12345\n");
  sink.write("123\n");
  sink.write("1\n");
  expect([stream.writableLength, sink.droppedLines]).toEqual([10, 1]);
});

test("a pipe without a reader never blocks; lines wait, then are dropped and counted", async () => {
  const { reader, writer } = openPipe();
  const line = `${"x".repeat(999)}\n`;
  const bytesMax = 100_000;
  const sink = openLineSink(writer, process.stderr, { bytesMax, droppedLine });
  const linesWritten = 1000;
  // More than the kernel's pipe and the buffer hold: a blocking write would never return.
  for (let i = 0; i < linesWritten; i++) sink.write(line);
  const { droppedLines } = sink;
  expect(droppedLines).toBeGreaterThan(500);
  let text = "";
  await vi.waitFor(() => {
    text += readAll(reader);
    expect(text).toContain("dropped");
  });
  const lines = text.split("\n");
  expect(lines.filter((one) => one.length === 999)).toHaveLength(linesWritten - droppedLines);
  expect(lines.at(-2)).toBe(`dropped ${String(droppedLines)}`);
  // The reader is back: later lines come at once.
  sink.write("after\n");
  expect(readAll(reader)).toBe("after\n");
});
