import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readTextFile } from "./io.ts";

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "spoor-io-"));
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

function makePipe(): string {
  const path = join(dir, "pipe");
  execFileSync("mkfifo", [path]);
  return path;
}

describe("readTextFile", () => {
  it("refuses a pipe without a writer, and does not wait forever", () => {
    const path = makePipe();
    expect(() => readTextFile(path, 20)).toThrow(
      `read ${path}: it is a pipe or device without data`,
    );
  });

  it("reads a pipe to its end, even if the writer starts later", async () => {
    const path = makePipe();
    const writer = spawn("sh", ["-c", 'echo "log: {level: warn}" > "$0"', path]);
    const exited = new Promise((resolve) => writer.once("exit", resolve));
    expect(readTextFile(path, 60_000)).toBe("log: {level: warn}\n");
    await exited;
  });

  it("reads an empty file as an empty text", () => {
    const path = join(dir, "empty");
    writeFileSync(path, "");
    expect(readTextFile(path, 0)).toBe("");
  });
});
