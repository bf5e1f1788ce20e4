import fc from "fast-check";
import { RE2JS } from "re2js";
import { describe, expect, test } from "vitest";
import { regexSizeMax } from "./limits.ts";
import { regexCost, regexSize } from "./regex-size.ts";
import { compileRegex, RegexCache } from "./regex.ts";
import { parseLeniently, parseQuery, RegexElsewhere } from "./traceql.ts";

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

  test("refuses patterns that are not RE2, or too large", () => {
    const patterns = ["(", "[", "a**", "(?=a)", "(a)\\1", "a{1001}", "((a{100}){100}){100}", "\\"];
    for (const pattern of [...patterns, "(".repeat(2000), "x".repeat(1_000_000)]) {
      expect(() => compileRegex(pattern)).toThrow(/^compile a regular expression: /);
    }
  });

  test("takes time in proportion to the text, whatever the pattern", () => {
    // Exponential for backtracking engines: 2^100 steps each.
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
    // Escaped counts and parentheses, and those in classes, are literal.
    ["a\\{1000}", 7],
    ["[a(b{9}]{1000}", 1000],
    ["[]a]{10}", 10],
    ["[^]a]{10}", 10],
    ["[[:alpha:]\\]]{10}", 10],
    ["\\p{Greek}{10}", 10],
    ["\\x{1F600}{10}", 10],
    ["\\Qa{1000}\\E", 1],
    // Invalid patterns have a size too.
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
      /^parse error at line 1, col 257: the regular expressions cost 48000 steps/,
    );
    expect(parseQuery(`{ ${half} && ${more} }`).hints).toEqual([]);
  });
});

describe("a choice of texts", () => {
  const chars = [
    "a",
    "b",
    "-",
    "_",
    "/",
    " ",
    "\\.",
    "\\|",
    "\\\\",
    "\\-",
    "\\_",
    "\\(",
    "é",
    "😀",
  ];
  const part = fc
    .array(fc.constantFrom(...chars, "|"), { maxLength: 8 })
    .map((parts) => parts.join(""));
  const frame = fc.constantFrom(
    (text: string) => text,
    (text: string) => `(${text})`,
    (text: string) => `^(?:${text})$`,
    (text: string) => `(?:(${text}))`,
    (text: string) => `^${text}$`,
    (text: string) => `a(${text})`,
  );

  test("matches what the compiled pattern matches", () => {
    const candidates = part.map((text) => text.replaceAll(/\\(.)|\|/g, "$1"));
    fc.assert(
      fc.property(part, frame, candidates, (inner, framed, other) => {
        const pattern = framed(inner);
        const compiled = compileRegex(pattern);
        const program = RE2JS.compile(pattern, RE2JS.DOTALL);
        const texts = [other, inner, `a${other}`, ...(compiled.literals ?? [])];
        for (const text of texts) expect(compiled.matches(text)).toBe(program.matches(text));
      }),
      { numRuns: 2000 },
    );
  });

  test("is recognized with any number of texts, anchored or grouped", () => {
    const names = Array.from({ length: 5000 }, (_, i) => `service-${i}\\.name`);
    for (const pattern of [names.join("|"), `^(${names.join("|")})$`, `(?:${names.join("|")})`]) {
      const { literals, matches } = compileRegex(pattern);
      expect(literals?.size).toBe(5000);
      expect([matches("service-17.name"), matches("service-17xname")]).toEqual([true, false]);
    }
    expect(compileRegex("a|b*").literals).toBeUndefined();
    expect(compileRegex("(?i)a|b").literals).toBeUndefined();
  });
});

describe("what a pattern costs", () => {
  test("counts classes by their cost to compile", () => {
    expect(regexCost("abc")).toBe(3);
    expect(regexCost("\\pL")).toBeGreaterThan(60);
    expect(regexCost("(?i)[a-z]")).toBeLessThan(20);
    expect(regexCost("(?i)[a-\\x{ffff}]")).toBeGreaterThan(1000);
    // 28 KB of text, half a second.
    expect(() => compileRegex(`(?i)${"\\pL".repeat(9000)}`)).toThrow(/it costs \d+ steps/);
    const query = `{ name =~ "(?i)${"\\\\pL".repeat(9000)}" }`;
    expect(() => parseQuery(query)).toThrow(/the regular expressions cost \d+ steps/);
  });

  test("is paid once for cached patterns; the cache is bounded", () => {
    const cache = new RegexCache();
    expect(cache.get("a.*b")).toBe(cache.get("a.*b"));
    for (let i = 0; i < 100; i++) cache.get(`${"a{1000}".repeat(20)}${i}`);
    expect(cache.size).toBeLessThan(20);
  });

  test("decides whether a query is parsed here", () => {
    const cheap = '{ name =~ "a.*b" }';
    const dear = `{ name =~ "${"\\\\pL".repeat(100)}" }`;
    expect(parseQuery(cheap, { regexSizeHere: 256 })).toEqual(parseQuery(cheap));
    expect(() => parseQuery(dear, { regexSizeHere: 256 })).toThrow(RegexElsewhere);
    expect(() => parseLeniently(dear, { regexSizeHere: 256 })).toThrow(RegexElsewhere);
    expect(parseQuery(dear).hints).toEqual([]);
  });
});
