import { globSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import { withoutRanges } from "./testing.ts";
import { formatQuery, parseQuery } from "./traceql.ts";

interface Case {
  text: string;
  wanted: string;
  line: number;
}

const folder = fileURLToPath(new URL("../../testdata/traceql/parse", import.meta.url));

function readCases(path: string): Case[] {
  const cases: Case[] = [];
  let lines: string[] = [];
  for (const [index, line] of readFileSync(path, "utf8").split("\n").entries()) {
    if (/^(=>|!!) /.test(line)) {
      cases.push({ text: lines.join("\n"), wanted: line, line: index + 1 });
      lines = [];
    } else if (lines.length > 0 || (line !== "" && !line.startsWith("# "))) lines.push(line);
  }
  expect(lines, `${path}: a case without an end`).toEqual([]);
  return cases;
}

/** What happened, in the form of the golden files. */
function outcomeOf(text: string): string {
  try {
    const query = parseQuery(text);
    const canonical = formatQuery(query);
    expect(withoutRanges(parseQuery(canonical))).toEqual(withoutRanges(query));
    return `=> ${canonical}`;
  } catch (error) {
    if (!(error instanceof SpoorError)) throw error;
    expect(error.code).toBe("InvalidInput");
    return error.message.replace(/^parse error at line (\d+), col (\d+): /, "!! $1:$2 ");
  }
}

const files = globSync("*.test", { cwd: folder });

test("there are golden files", () => {
  expect(files.length).toBeGreaterThan(6);
});

describe.each(files)("%s", (file) => {
  test.each(readCases(`${folder}/${basename(file)}`))("$line: $text", ({ text, wanted }) => {
    const outcome = outcomeOf(text);
    const isOpen = wanted.endsWith("...");
    expect(isOpen ? outcome.slice(0, wanted.length - 3) : outcome).toBe(
      isOpen ? wanted.slice(0, -3) : wanted,
    );
  });
});
