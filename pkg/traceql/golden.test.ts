import { describe, expect, test } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import { goldenFiles, readCases, withoutRanges } from "./traceql.testing.ts";
import { formatQuery, parseQuery } from "./traceql.ts";

/** Returns the outcome of parsing in the form of the golden files. */
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

test("there are golden files", () => {
  expect(goldenFiles().length).toBeGreaterThan(6);
});

describe.each(goldenFiles())("%s", (file) => {
  test.each(readCases(file))("$line: $text", ({ text, wanted }) => {
    const outcome = outcomeOf(text);
    const isOpen = wanted.endsWith("...");
    expect(isOpen ? outcome.slice(0, wanted.length - 3) : outcome).toBe(
      isOpen ? wanted.slice(0, -3) : wanted,
    );
  });
});
