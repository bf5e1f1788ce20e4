import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { TestModule } from "vitest/node";
import { checkTimes, formatRows, readRows, readTimes, TimesReporter } from "./test-times.ts";

const rows = readRows(
  "| file | seconds |\n|---|---|\n| `a/long.test.ts` | 10 |\n| `b/gone.test.ts` | 4 |\n| all others | 70 |\n",
);

describe("the table of seconds", () => {
  it("has a row for each long file, and none for a file that is gone", () => {
    expect([...rows]).toEqual([
      ["a/long.test.ts", 10],
      ["b/gone.test.ts", 4],
    ]);
    const files = new Set(["a/long.test.ts", "a/new.test.ts", "a/short.test.ts"]);
    const times = new Map([
      ["a/long.test.ts", 9],
      ["a/new.test.ts", 40],
      ["a/short.test.ts", 1],
      ["a/deleted.test.ts", 100],
    ]);
    expect(checkTimes(files, rows, times)).toEqual({
      problems: [
        "b/gone.test.ts has a row, and is gone",
        "a/new.test.ts took 40.0 s, and has no row",
      ],
      notes: [],
    });
  });

  it("is a print for what is over it", () => {
    const files = new Set(["a/long.test.ts", "a/new.test.ts", "c.test.ts", "d.test.ts"]);
    const table = new Map([
      ["a/long.test.ts", 10],
      ["c.test.ts", 4],
      ["d.test.ts", 4],
    ]);
    const times: [string, number][] = [
      ["a/long.test.ts", 60],
      ["a/new.test.ts", 9],
      ["c.test.ts", 4],
      ["d.test.ts", 4],
    ];
    expect(checkTimes(files, table, new Map(times))).toEqual({
      problems: [],
      notes: [
        "a/long.test.ts took 60.0 s, its row says 10 s",
        "a/new.test.ts took 9.0 s, and has no row",
      ],
    });
    expect(checkTimes(files, table, new Map())).toEqual({ problems: [], notes: [] });
  });

  it("gives a busy machine the time that it needs for all files", () => {
    const files = new Set(["a/long.test.ts", "b/gone.test.ts", "a/new.test.ts"]);
    const times = new Map([
      ["a/long.test.ts", 60],
      ["b/gone.test.ts", 24],
      ["a/new.test.ts", 31],
    ]);
    expect(checkTimes(files, rows, times)).toEqual({
      problems: [],
      notes: ["this machine took 6.0 times as long as the table says"],
    });
  });
});

it("what is printed for the table is read from it again", () => {
  const times = new Map([
    ["a.test.ts", 3.2],
    ["b.test.ts", 12.7],
    ["c.test.ts", 1],
    ["d.test.ts", 2.4],
  ]);
  const text = formatRows(times);
  expect([...readRows(text)]).toEqual([
    ["b.test.ts", 13],
    ["a.test.ts", 3],
  ]);
  expect(text).toContain("| all 2 others | 3 |");
});

it("seconds of a run are kept until the next run of the same file", () => {
  const dir = mkdtempSync(join(tmpdir(), "spoor-times-"));
  try {
    const path = join(dir, "cache", "times.json");
    expect([...readTimes(path)]).toEqual([]);
    const run = (...names: [project: string, path: string][]): void => {
      const reporter = new TimesReporter(path);
      for (const [name, relativeModuleId] of names) {
        const project = { name };
        const tests = [12_000, 13_000].map((startTime) => ({
          diagnostic: () => ({ startTime, duration: 4000 }),
        }));
        const children = { allTests: () => tests };
        const module = { id: relativeModuleId, relativeModuleId, project, children } as unknown;
        reporter.onTestModuleStart(module as TestModule);
        reporter.onTestModuleEnd(module as TestModule);
      }
      reporter.onTestRunEnd();
    };
    run(["unit", "a.test.ts"], ["deep", "deep.test.ts"]);
    run(["real", "b.real.test.ts"]);
    // Tests that ran side by side count once.
    expect([...readTimes(path)]).toEqual([
      ["a.test.ts", 5],
      ["b.real.test.ts", 5],
    ]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
