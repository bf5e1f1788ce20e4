/** Text to the parser's tree. Errors say which word was not expected, and what was. */
import { ExternalTokenizer, type LRParser } from "@lezer/lr";
import type { Tree } from "@lezer/common";
import type { SpoorError } from "#pkg/errors/errors.ts";
import { parser } from "./parser.generated.ts";
import { type Literal, parseName, parseString } from "./literals.ts";
import { problemAt, problemAtOffset, shorten } from "./problem.ts";
import { gaps, lenientGaps, readTrivia, trivia } from "./tokens.ts";

/** Longest query, in bytes of UTF-8. */
export const queryBytesMax: number = 128 * 1024;

const strictParser: LRParser = parser.configure({ strict: true });
const lenientParser: LRParser = parser.configure({
  tokenizers: [{ from: gaps, to: lenientGaps }],
});

/** The tree of a complete query; InvalidInput with a position if it is not one. */
export function parseTree(text: string): Tree {
  checkLength(text);
  try {
    return strictParser.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw explain(text);
  }
}

/** The tree of a query that may be unfinished, with error nodes; undefined if it is too long. */
export function parseUnfinishedTree(text: string): Tree | undefined {
  return byteLength(text) > queryBytesMax ? undefined : lenientParser.parse(text);
}

function checkLength(text: string): void {
  const sizeBytes = byteLength(text);
  if (sizeBytes <= queryBytesMax) return;
  throw problemAtOffset(text, 0, `the query has ${sizeBytes} bytes, at most ${queryBytesMax}`);
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

function explain(text: string): SpoorError {
  const { position, expected } = findStop(text);
  const open = findUnterminated(text, position);
  if (open !== undefined) return open;
  const comment = [position - 1, position].find((at) => text.startsWith("/*", at));
  if (comment !== undefined) return problemAtOffset(text, comment, "the comment has no end");
  const word = wordAt(text, position);
  const found = word === "" ? "end of query" : shorten(word);
  const advice = adviceFor(text, word, position);
  const wanted = advice ?? `expected ${listOf(describe(expected))}`;
  return problemAtOffset(text, position, `unexpected ${found}, ${wanted}`);
}

/** A string or name without its end takes in what follows: that is the error then, not the rest. */
function findUnterminated(text: string, position: number): SpoorError | undefined {
  const before = text.slice(0, position);
  const { name, from, to } = parser.parse(before).resolveInner(before.trimEnd().length, -1);
  const word = text.slice(from, to);
  let literal: Literal<string> | undefined;
  if (name === "String") literal = parseString(word);
  if (name === "Attribute") literal = parseName(word.slice(word.indexOf(".") + 1));
  if (literal === undefined || !("problem" in literal)) return undefined;
  return problemAt(text, { from, to }, literal.problem);
}

interface Stop {
  position: number;
  /** Names of the tokens that could stand there. */
  expected: ReadonlySet<string>;
}

/**
 * Parses again to see how far the parser gets, and once more to ask it there which tokens it would
 * take. White space is valid everywhere, so its tokenizer is asked at every position.
 */
function findStop(text: string): Stop {
  let position = 0;
  parseWatched(text, (at) => {
    position = Math.max(position, at);
  });
  const expected = new Set<string>();
  parseWatched(text, (at, canShift) => {
    if (at !== position) return;
    for (const { id, name } of parser.nodeSet.types) {
      if (name !== "" && canShift(id)) expected.add(name);
    }
  });
  return { position, expected };
}

function parseWatched(
  text: string,
  watch: (position: number, canShift: (term: number) => boolean) => void,
): void {
  const watched = new ExternalTokenizer((input, stack) => {
    watch(input.pos, (term) => stack.canShift(term));
    readTrivia(input);
  });
  try {
    strictParser.configure({ tokenizers: [{ from: trivia, to: watched }] }).parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
}

function wordAt(text: string, position: number): string {
  const pattern = /[\p{L}\p{N}_.:]{1,100}|"[^"\n]{0,100}"?|[=!<>&|~]+|./suy;
  pattern.lastIndex = position;
  return pattern.exec(text)?.[0] ?? "";
}

function adviceFor(text: string, word: string, position: number): string | undefined {
  if (word.startsWith("=") && text[position - 1] === "=") return "equality is written =";
  if (word === "'") return 'strings stand in double quotes or backquotes: "a", `a`';
  return undefined;
}

/** What tokens mean together: each stands for all that come with it. */
const phrases: ReadonlyArray<{ token: string; phrase: string; unless?: string }> = [
  { token: "Attribute", phrase: "a value (attribute, intrinsic or literal)" },
  { token: "String", phrase: "a literal", unless: "Attribute" },
  { token: "{", phrase: "a spanset filter { ... }" },
  { token: "count", phrase: "an aggregate" },
  { token: "rate", phrase: "a metrics function" },
  { token: "select", phrase: "a pipeline stage" },
  { token: "Number", phrase: "a number", unless: "String" },
  { token: "&&", phrase: "an operator" },
  { token: "}", phrase: '"}"' },
  { token: ")", phrase: '")"' },
  { token: "(", phrase: '"("' },
  { token: ",", phrase: '","' },
  { token: "|", phrase: '"|"' },
  { token: "Identifier", phrase: "a name", unless: "Attribute" },
  { token: "=", phrase: '"="', unless: "&&" },
];

function describe(expected: ReadonlySet<string>): string[] {
  const found = phrases.filter(
    ({ token, unless = "" }) => expected.has(token) && !expected.has(unless),
  );
  return found.length > 0 ? found.map(({ phrase }) => phrase) : ["the end of the query"];
}

function listOf(words: string[]): string {
  const last = words.at(-1) ?? "";
  return words.length < 2 ? last : `${words.slice(0, -1).join(", ")} or ${last}`;
}
