/**
 * Compares the time of test files with their budget. A run of `npm test` or `test:real` records the
 * seconds of each file (`TimesReporter`). `npm run check` compares them with the table in README.md
 * of this folder. It fails only for a long file without a row, or a row without a file.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Reporter, TestModule } from "vitest/node";

/** Path in the project's folder; not in git. */
export const testTimesPath = "node_modules/.cache/spoor/test-times.json";
/** Files that take less share one row, seconds. */
const rowSeconds = 3;
/** A file without a row fails the check beyond this time: ten times `rowSeconds`. */
const unlistedSecondsMax = 30;
/** A file is printed if it exceeds its row by this factor and by this number of seconds. */
const slack = { factor: 1.5, seconds: 2 };

/** Path of a test file -> seconds of its last run. */
export type TestTimes = ReadonlyMap<string, number>;

export interface TimesCheck {
  /** Files over their budget. */
  notes: string[];
  /** Rows without a file, and long files without a row. */
  problems: string[];
}

const measuredProjects: ReadonlySet<string> = new Set(["unit", "real", "load"]);

/** Records the seconds of each file that runs; keeps those of other files. */
export class TimesReporter implements Reporter {
  readonly #path: string;
  readonly #started = new Map<string, number>();
  readonly #took = new Map<string, number>();

  /** @param path a JSON file; created if it does not exist. */
  constructor(path: string) {
    this.#path = path;
  }

  onTestModuleStart(module: TestModule): void {
    this.#started.set(module.id, performance.now());
  }

  onTestModuleEnd(module: TestModule): void {
    const startMs = this.#started.get(module.id);
    if (startMs === undefined || !measuredProjects.has(module.project.name)) return;
    const tookMs = Math.max(performance.now() - startMs, testsMs(module));
    this.#took.set(module.relativeModuleId, tookMs / 1000);
  }

  onTestRunEnd(): void {
    const all = new Map([...readTimes(this.#path), ...this.#took]);
    mkdirSync(dirname(this.#path), { recursive: true });
    // Written atomically, since another run may read it.
    writeFileSync(`${this.#path}.${process.pid}`, JSON.stringify(Object.fromEntries(all)));
    renameSync(`${this.#path}.${process.pid}`, this.#path);
  }
}

/** Returns a file's seconds from its tests: a busy worker reports its start only at its end. */
function testsMs(module: TestModule): number {
  let [from, to] = [Number.POSITIVE_INFINITY, 0];
  for (const test of module.children.allTests()) {
    const { startTime, duration } = test.diagnostic() ?? { startTime: from, duration: 0 };
    from = Math.min(from, startTime);
    to = Math.max(to, startTime + duration);
  }
  return Math.max(0, to - from);
}

/** Returns the recorded seconds; empty if there are none. */
export function readTimes(path: string): TestTimes {
  try {
    return new Map(Object.entries(JSON.parse(readFileSync(path, "utf8")) as object));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return new Map();
    throw error;
  }
}

/** Returns the rows `| path.test.ts | seconds |` of a document. */
export function readRows(document: string): TestTimes {
  const rows = document.matchAll(/^\| `([^`]+\.test\.ts)` \| (\d+) \|$/gm);
  return new Map(Array.from(rows, ([, path, seconds]) => [path, Number(seconds)]));
}

/**
 * Compares the last seconds of existing test files with the rows of the table. On a slow or busy
 * machine each file has proportionally more time.
 */
export function checkTimes(
  files: ReadonlySet<string>,
  rows: TestTimes,
  measured: TestTimes,
): TimesCheck {
  const problems = [...rows.keys()]
    .filter((path) => !files.has(path))
    .map((path) => `${path} has a row, and is gone`);
  const notes: string[] = [];
  const slower = slowness(rows, measured);
  if (slower > slack.factor) {
    notes.push(`this machine took ${slower.toFixed(1)} times as long as the table says`);
  }
  for (const [path, seconds] of measured) {
    if (!files.has(path)) continue;
    const took = `${path} took ${seconds.toFixed(1)} s`;
    const row = rows.get(path);
    const budget = ((row ?? rowSeconds) * slack.factor + slack.seconds) * slower;
    if (row === undefined && seconds > unlistedSecondsMax * slower) {
      problems.push(`${took}, and has no row`);
    } else if (seconds > budget) {
      notes.push(row === undefined ? `${took}, and has no row` : `${took}, its row says ${row} s`);
    }
  }
  return { notes, problems };
}

/** Returns the median slowdown of files with a row; at least 1. */
function slowness(rows: TestTimes, measured: TestTimes): number {
  const ratios = [...rows].flatMap(([path, row]) => {
    const seconds = measured.get(path);
    return seconds === undefined ? [] : [seconds / row];
  });
  ratios.sort((a, b) => a - b);
  return Math.max(1, ratios[Math.floor(ratios.length / 2)] ?? 1);
}

/** Formats the table for README.md: a row per file of at least `rowSeconds`, one for the rest. */
export function formatRows(times: TestTimes): string {
  const long = [...times].filter(([, seconds]) => seconds >= rowSeconds);
  long.sort(([, a], [, b]) => b - a);
  const rows = long.map(([path, seconds]) => `| \`${path}\` | ${Math.round(seconds)} |`);
  const others = [...times.values()].filter((seconds) => seconds < rowSeconds);
  const sum = Math.round(others.reduce((total, seconds) => total + seconds, 0));
  if (others.length > 0) rows.push(`| all ${others.length} others | ${sum} |`);
  return ["| file | seconds |", "|---|---|", ...rows, ""].join("\n");
}
