/** Parses text to Lezer's tree. Errors name the unexpected word and the expected ones. */
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

/** Parses a complete query. Throws InvalidInput with a position for a syntax error. */
export function parseTree(text: string): Tree {
  checkLength(text);
  const { tree, stop } = parse(strictParser, text);
  if (tree === undefined) throw explain(text, stop);
  checkTreeDepth(text, tree);
  return tree;
}

/**
 * Parses a query that may be unfinished. The tree ends with an error node at the first error.
 * Throws InvalidInput if the text is too long or too deep.
 */
export function parseUnfinishedTree(text: string): Tree {
  checkLength(text);
  const { tree, stop } = parse(lenientParser, text);
  const known = tree ?? parseUntil(lenientParser, text, stop);
  checkTreeDepth(text, known);
  return known;
}

/** Parses text; returns the tree, or undefined and the position where the parser stopped. */
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
 * Parses the text before the position where the parser stopped. Lezer's error recovery would find
 * more, but takes seconds for some texts within the limits.
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

/** Throws InvalidInput if a tree is deeper than `treeDepthMax`. */
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
  // Lezer gives up after some hundred operators in a row and then expects the end of the query.
  const isGivenUp = expected.has("with") && !/\bwith\b/.test(text.slice(0, position));
  if (isGivenUp && !expected.has("&&")) {
    return problemAtOffset(text, position, "too many operators in a row");
  }
  const found = word === "" ? "end of query" : shorten(word);
  const advice = adviceFor(text, word, position);
  const wanted = advice ?? `expected ${listOf(describe(expected))}`;
  return problemAtOffset(text, position, `unexpected ${found}, ${wanted}`);
}

/** Finds an unterminated string or name before the stop, which is the real error. */
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
 * Returns the names of the tokens that the parser accepts at the stop. It parses again and inspects
 * the parser's state there. White space is valid everywhere, so its tokenizer runs at every
 * position.
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
  if (word === "'") return 'strings need double quotes or backquotes: "a", `a`';
  return undefined;
}

/** Phrases for groups of tokens that are accepted together; `token` represents its group. */
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
