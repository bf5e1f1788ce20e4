import fc from "fast-check";
import { expect, it } from "vitest";
import type { ByteValues } from "#pkg/columns/column-batch.ts";
import { compileRegex } from "#pkg/traceql/regex.ts";
import { shapeOf } from "#pkg/traceql/regex-shape.ts";
import { markMatches } from "./text-match.ts";

function dictionaryOf(texts: readonly string[]): ByteValues {
  const all = texts.map((text) => Buffer.from(text));
  const offsets = new Uint32Array(texts.length + 1);
  all.forEach((bytes, i) => (offsets[i + 1] = offsets[i] + bytes.length));
  return { bytes: Buffer.concat(all), offsets, length: texts.length };
}

function matching(pattern: string, texts: readonly string[]): string[] {
  const marks = new Uint8Array(texts.length).fill(1);
  markMatches(dictionaryOf(texts), compileRegex(pattern), marks);
  return texts.filter((_, i) => marks[i] === 1);
}

it.each([
  ["abc.*", "globs"],
  ["^.*abc$", "globs"],
  [".*a.+b.*", "globs"],
  ["POST /(carts|users)/.*", "globs"],
  ["(?:a|b(c|d)).*", "globs"],
  ["a\\.b", "globs"],
  ["order-[0-9]+7", "needles"],
  ["(foo|bar)[0-9]", "needles"],
  ["ab?c", "needles"],
  ["ab+c", "needles"],
  ["a.c", "needles"],
  ["x[]a]y", "needles"],
  ["a^b", "needles"],
  ["[a-z]+", undefined],
  ["(foo|[0-9])", undefined],
  ["(?i)foo.*", undefined],
  ["(?P<name>foo).*", undefined],
  ["a{2}.*", undefined],
  ["\\x41.*", undefined],
  ["\\Qa.b\\E.*", undefined],
  ["[[:alpha:]]abc", undefined],
])("the shape of %s is %s", (pattern, kind) => {
  expect(shapeOf(pattern)?.kind).toBe(kind);
});

it("gaps count characters, and parts do not overlap", () => {
  expect(matching("a.+b", ["ab", "axb", "aéb", "a😀b", "b", "a"])).toEqual(["axb", "aéb", "a😀b"]);
  expect(matching("aba.*aba", ["aba", "ababa", "abaaba", "abaxaba"])).toEqual([
    "abaaba",
    "abaxaba",
  ]);
  expect(matching(".*aa.*", ["a", "aa", "baab"])).toEqual(["aa", "baab"]);
  // A needle that spans two adjacent entries is in neither.
  expect(matching(".*xy.*", ["x", "y", "axyb"])).toEqual(["axyb"]);
  expect(matching("[0-9]xy", ["1x", "y", "1xy"])).toEqual(["1xy"]);
});

const atom: fc.Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom("a", "b", "ab", "é", "😀", "\\.", "-") },
  { weight: 4, arbitrary: fc.constantFrom(".*", ".+", ".*?", ".", ".?") },
  {
    weight: 3,
    arbitrary: fc.constantFrom("a*", "b+", "é?", "[ab]", "[^a]+", "\\w", "\\d*", "a+?"),
  },
  { weight: 1, arbitrary: fc.constantFrom("^", "$", "a{2}", "(?i:A)", "\\x61", "[]a]", "\\b") },
);
const { pattern } = fc.letrec<{ pattern: string; group: string }>((tie) => ({
  group: tie("pattern").chain((inner) => {
    return fc.constantFrom(`(${inner})`, `(?:${inner})`, `(${inner})*`, `(${inner})+`);
  }),
  pattern: fc
    .array(
      fc.array(
        fc.oneof(
          { depthSize: "small", withCrossShrink: true },
          { weight: 6, arbitrary: atom },
          { weight: 1, arbitrary: tie("group") },
        ),
        { maxLength: 5 },
      ),
      { minLength: 1, maxLength: 3 },
    )
    .map((alternatives) => alternatives.map((atoms) => atoms.join("")).join("|")),
}));
const text = fc
  .array(fc.constantFrom("a", "b", "ab", "é", "😀", ".", "-", "1", "\n"), { maxLength: 7 })
  .map((parts) => parts.join(""));

it("agrees with the regular expression engine for any pattern and texts", () => {
  const seen = { globs: 0, needles: 0, none: 0, matches: 0 };
  fc.assert(
    fc.property(pattern, fc.array(text, { minLength: 1, maxLength: 20 }), (regex, texts) => {
      const { matches } = compileRegex(regex);
      const wanted = texts.filter((one) => matches(one));
      expect(matching(regex, texts)).toEqual(wanted);
      seen[shapeOf(regex)?.kind ?? "none"]++;
      seen.matches += wanted.length;
    }),
    { numRuns: 3000 },
  );
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(150);
});

it("tests only the requested entries", () => {
  const texts = ["abc", "abd", "xbc", "abe"];
  for (const regex of ["ab.*", ".*b.*", "a[b]c|.bd", "[ax]bc"]) {
    const marks = Uint8Array.of(0, 1, 1, 0);
    markMatches(dictionaryOf(texts), compileRegex(regex), marks);
    const { matches } = compileRegex(regex);
    expect([...marks]).toEqual([0, matches("abd") ? 1 : 0, matches("xbc") ? 1 : 0, 0]);
  }
});
