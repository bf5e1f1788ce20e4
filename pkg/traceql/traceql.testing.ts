/** Test support of this folder. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Returns a copy of a tree without the text ranges of its nodes. */
export function withoutRanges(tree: unknown): unknown {
  if (Array.isArray(tree)) return tree.map(withoutRanges);
  if (typeof tree !== "object" || tree === null) return tree;
  return Object.fromEntries(
    Object.entries(tree)
      .filter(([key]) => key !== "range")
      .map(([key, value]) => [key, withoutRanges(value)]),
  );
}

/** One case of `testdata/traceql/parse`. */
export interface GoldenCase {
  text: string;
  /** `=> canonical text` or `!! line:column message`. */
  wanted: string;
  /** Line of the outcome, from 1. */
  line: number;
}

const folder: string = fileURLToPath(new URL("../../testdata/traceql/parse", import.meta.url));

/** Names of the golden files. */
export function goldenFiles(): string[] {
  return globSync("*.test", { cwd: folder }).sort();
}

export function readCases(file: string): GoldenCase[] {
  const cases: GoldenCase[] = [];
  let lines: string[] = [];
  for (const [index, line] of readFileSync(join(folder, file), "utf8").split("\n").entries()) {
    if (/^(=>|!!) /.test(line)) {
      cases.push({ text: lines.join("\n"), wanted: line, line: index + 1 });
      lines = [];
    } else if (lines.length > 0 || (line !== "" && !line.startsWith("# "))) lines.push(line);
  }
  if (lines.length > 0) throw new Error(`${file}: the last case has no outcome`);
  return cases;
}

/** All texts of the golden files, valid or not. */
export function goldenQueries(): string[] {
  return goldenFiles().flatMap((file) => readCases(file).map(({ text }) => text));
}
