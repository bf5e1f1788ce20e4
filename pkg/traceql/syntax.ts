/** Text to the parser's tree. Errors say which word was not expected, and what was. */
import { ExternalTokenizer, type LRParser } from "@lezer/lr";
import { Tree } from "@lezer/common";
import type { SpoorError } from "#pkg/errors/errors.ts";
import { parser } from "./parser.generated.ts";
import { queryBytesMax, treeDepthMax } from "./limits.ts";
import { type Literal, parseName, parseString } from "./literals.ts";
import { problemAt, problemAtOffset, shorten, tooDeep } from "./problem.ts";
import { gaps, lenientGaps, readTrivia, trivia } from "./tokens.ts";

const strictParser: LRParser = parser.configure({ strict: true });
const lenientParser: LRParser = strictParser.configure({
  tokenizers: [{ from: gaps, to: lenientGaps }],
});

/** The tree of a complete query; InvalidInput with a position if it is not one. */
export function parseTree(text: string): Tree {
  checkLength(text);
  const { tree, stop } = parse(strictParser, text);
  if (tree === undefined) throw explain(text, stop);
  checkTreeDepth(text, tree);
  return tree;
}

/**
 * The tree of a query that may be unfinished, up to the first error, with an error node where it
 * ends there. InvalidInput if it is too long or too deep.
 */
export function parseUnfinishedTree(text: string): Tree {
  checkLength(text);
  const { tree, stop } = parse(lenientParser, text);
  const known = tree ?? parseUntil(lenientParser, text, stop);
  checkTreeDepth(text, known);
  return known;
}

/** The tree; or undefined, and where the parser stopped. */
function parse(strict: LRParser, text: string): { tree: Tree | undefined; stop: number } {
  const partial = strict.startParse(text);
  let stop = 0;
  try {
    for (;;) {
      stop = partial.parsedPos;
      const tree = partial.advance();
      if (tree !== null) return { tree, stop };
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return { tree: undefined, stop };
  }
}

/**
 * The tree of the text before the place where the parser stopped. Lezer's own recovery from errors
 * finds more, but takes seconds for some texts of the length that is allowed.
 */
function parseUntil(strict: LRParser, text: string, stop: number): Tree {
  const partial = strict.startParse(text);
  partial.stopAt(stop - 1);
  try {
    for (;;) {
      const tree = partial.advance();
      if (tree !== null) return tree;
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return Tree.empty;
  }
}

/** Throws where a tree is deeper than what Lezer keeps as a tree. */
function checkTreeDepth(text: string, tree: Tree): void {
  const cursor = tree.cursor();
  for (let depth = 0; ;) {
    if (cursor.firstChild()) {
      depth++;
      if (depth > treeDepthMax) throw tooDeep(text, cursor.from);
      continue;
    }
    while (!cursor.nextSibling()) {
      if (!cursor.parent()) return;
      depth--;
    }
  }
}

function checkLength(text: string): void {
  const sizeBytes = byteLength(text);
  if (sizeBytes <= queryBytesMax) return;
  throw problemAtOffset(text, 0, `the query has ${sizeBytes} bytes, at most ${queryBytesMax}`);
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

function explain(text: string, position: number): SpoorError {
  const before = parseUntil(strictParser, text, position);
  checkTreeDepth(text, before);
  const open = findUnterminated(text, before, position);
  if (open !== undefined) return open;
  const comment = [position - 1, position].find((at) => text.startsWith("/*", at));
  if (comment !== undefined) return problemAtOffset(text, comment, "the comment has no end");
  const word = wordAt(text, position);
  const expected = findExpected(text, position);
  // Lezer gives up on some hundred operators in a row: it goes on as if the query had ended.
  const isGivenUp = expected.has("with") && !/\bwith\b/.test(text.slice(0, position));
  if (isGivenUp && !expected.has("&&")) {
    return problemAtOffset(text, position, "too many operators in a row");
  }
  const found = word === "" ? "end of query" : shorten(word);
  const advice = adviceFor(text, word, position);
  const wanted = advice ?? `expected ${listOf(describe(expected))}`;
  return problemAtOffset(text, position, `unexpected ${found}, ${wanted}`);
}

/** A string or name without its end takes in what follows: that is the error then, not the rest. */
function findUnterminated(text: string, before: Tree, position: number): SpoorError | undefined {
  const end = text.slice(0, position).trimEnd().length;
  const { name, from, to } = before.resolveInner(end, -1);
  const word = text.slice(from, to);
  let literal: Literal<string> | undefined;
  if (name === "String") literal = parseString(word);
  if (name === "Attribute") literal = parseName(word.slice(word.indexOf(".") + 1));
  if (literal === undefined || !("problem" in literal)) return undefined;
  return problemAt(text, { from, to }, literal.problem);
}

/**
 * Names of the tokens that could stand where the parser stops: parses again and asks it there.
 * White space is valid everywhere, so its tokenizer is called at every position.
 */
function findExpected(text: string, position: number): ReadonlySet<string> {
  const expected = new Set<string>();
  const watched = new ExternalTokenizer((input, stack) => {
    if (input.pos === position) {
      for (const { id, name } of parser.nodeSet.types) {
        if (name !== "" && stack.canShift(id)) expected.add(name);
      }
    }
    readTrivia(input);
  });
  parse(strictParser.configure({ tokenizers: [{ from: trivia, to: watched }] }), text);
  return expected;
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
  { token: "with", phrase: "the end of the query", unless: "&&" },
];

function describe(expected: ReadonlySet<string>): string[] {
  const found = phrases.filter(
    ({ token, unless = "" }) => expected.has(token) && !expected.has(unless),
  );
  return found.map(({ phrase }) => phrase);
}

function listOf(words: string[]): string {
  const last = words.at(-1) ?? "";
  return words.length < 2 ? last : `${words.slice(0, -1).join(", ")} or ${last}`;
}
