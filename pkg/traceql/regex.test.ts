import { describe, expect, test } from "vitest";
import { regexSizeMax } from "./limits.ts";
import { regexSize } from "./regex-size.ts";
import { compileRegex } from "./regex.ts";
import { parseQuery } from "./traceql.ts";

describe("compileRegex", () => {
  test("matches the whole text, newlines too", () => {
    expect(compileRegex("foo").matches("foo")).toBe(true);
    expect(compileRegex("foo").matches("foobar")).toBe(false);
    expect(compileRegex("foo").matches("a foo")).toBe(false);
    expect(compileRegex("a|ab").matches("ab")).toBe(true);
    expect(compileRegex("a.b").matches("a\nb")).toBe(true);
    expect(compileRegex("(?-s)a.b").matches("a\nb")).toBe(false);
    expect(compileRegex("FOO").matches("foo")).toBe(false);
    expect(compileRegex("(?i)FOO").matches("foo")).toBe(true);
    expect(compileRegex("^foo$").matches("foo")).toBe(true);
    expect(compileRegex("foo$").matches("foo\n")).toBe(false);
    expect(compileRegex("").matches("")).toBe(true);
    expect(compileRegex(".").matches("😀")).toBe(true);
    expect(compileRegex("\\p{L}+").matches("日本")).toBe(true);
  });

  test("refuses what is not RE2, or too much", () => {
    const patterns = ["(", "[", "a**", "(?=a)", "(a)\\1", "a{1001}", "((a{100}){100}){100}", "\\"];
    for (const pattern of [...patterns, "(".repeat(2000), "x".repeat(1_000_000)]) {
      expect(() => compileRegex(pattern)).toThrow(/^compile a regular expression: /);
    }
  });

  test("takes time in proportion to the text, whatever the pattern", () => {
    // Exponential for engines that go back: 2^100 steps each.
    const text = "a".repeat(100);
    for (const pattern of ["(a*)*b", "(a|a)*b", `${"a?".repeat(100)}b`, "(.*a){50}b"]) {
      expect(compileRegex(pattern).matches(text)).toBe(false);
    }
  });
});

describe("regexSize", () => {
  test.each([
    ["", 0],
    ["abc", 3],
    ["a|b*", 4],
    ["(ab)", 4],
    ["a{5}", 5],
    ["ba{2,7}", 8],
    ["a{3,}", 3],
    ["(ab){10}", 40],
    ["((a{10}){10}){10}", 1220],
    ["a{1000}{1000}", 1_000_000],
    ["a{,5}", 5],
    ["a{x}", 4],
    // Neither counts nor parentheses where they stand for themselves.
    ["a\\{1000}", 7],
    ["[a(b{9}]{1000}", 1000],
    ["[]a]{10}", 10],
    ["[^]a]{10}", 10],
    ["[[:alpha:]\\]]{10}", 10],
    ["\\p{Greek}{10}", 10],
    ["\\x{1F600}{10}", 10],
    ["\\Qa{1000}\\E", 1],
    // What is not RE2 has a size too.
    ["(((", 0],
    [")))", 6],
    ["[", 1],
    ["\\", 1],
    ["{5}", 0],
  ])("of %s is %d", (pattern, size) => {
    expect(regexSize(pattern)).toBe(size);
  });

  test("is bounded for a pattern and for all of a query", () => {
    expect(() => compileRegex("x{1000}".repeat(33))).toThrow(/size 33000 with its repetitions/);
    expect(compileRegex("x{1000}".repeat(32)).matches("x".repeat(32_000))).toBe(true);
    const half = `.a =~ "${"x{1000}".repeat(16)}"`;
    const more = `.a !~ "${"y".repeat(regexSizeMax - 16_000)}"`;
    expect(() => parseQuery(`{ ${half} && ${half} && ${half} }`)).toThrow(
      /^parse error at line 1, col 257: the regular expressions have the size 48000 with/,
    );
    expect(parseQuery(`{ ${half} && ${more} }`).hints).toEqual([]);
  });
});
