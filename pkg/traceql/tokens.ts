/**
 * Tokenizers for the tokens that the grammar cannot describe: trivia (valid in every state),
 * references (names may contain almost any character), and the gaps of unfinished text.
 */
import { ExternalTokenizer, type InputStream } from "@lezer/lr";
import * as terms from "./terms.generated.ts";

const newline = 10;
const quote = 34;
const star = 42;
const dot = 46;
const slash = 47;
const backslash = 92;
const endOfText = -1;

/** Scopes of attributes. Longer prefixes come first, so that `parent.span.` is one prefix. */
const attributeScopes = ["span", "resource", "event", "link", "instrumentation"];
const attributePrefixes: readonly string[] = [
  ...attributeScopes.map((scope) => `parent.${scope}.`),
  ...["parent", ...attributeScopes].map((scope) => `${scope}.`),
];
const intrinsicScopes = ["span", "trace", "event", "link", "instrumentation"];
const intrinsicPrefixes: readonly string[] = intrinsicScopes.map((scope) => `${scope}:`);

/** Returns whether a UTF-16 unit is white space: it ends a name and is skipped between tokens. */
export function isSpace(unit: number): boolean {
  if (unit <= 32) return unit === 32 || (unit >= 9 && unit <= 13);
  return unit === 0x85 || (unit >= 0xa0 && /\s/.test(String.fromCharCode(unit)));
}

/** Returns whether a UTF-16 unit ends an unquoted name. */
export function endsName(unit: number): boolean {
  return unit === endOfText || isSpace(unit) || "{}()=~!<>&|^,".includes(String.fromCharCode(unit));
}

/** Reads white space or a comment, if there is one. */
export function readTrivia(input: InputStream): void {
  if (isSpace(input.next)) {
    while (isSpace(input.next)) input.advance();
    input.acceptToken(terms.space);
  } else if (input.next === slash) {
    readComment(input);
  }
}

export const trivia: ExternalTokenizer = new ExternalTokenizer(readTrivia);

function readComment(input: InputStream): void {
  const next = input.advance();
  if (next === slash) {
    while (input.next !== newline && input.next !== endOfText) input.advance();
    input.acceptToken(terms.LineComment);
  } else if (next === star) {
    input.advance();
    while (input.next !== endOfText) {
      const isEnd = input.next === star && input.peek(1) === slash;
      input.advance();
      if (!isEnd) continue;
      input.advance();
      input.acceptToken(terms.BlockComment);
      return;
    }
  }
}

export const references: ExternalTokenizer = new ExternalTokenizer((input) => {
  const { next } = input;
  if (next === dot) {
    // A dot and a digit start a number: `.5`. The attribute is written `."5"`.
    if (isDigit(input.peek(1))) return;
    input.advance();
    readName(input);
    input.acceptToken(terms.Attribute);
    return;
  }
  if (!isLetter(next)) return;
  const attribute = attributePrefixes.find((prefix) => isAhead(input, prefix));
  if (attribute !== undefined) {
    input.advance(attribute.length);
    readName(input);
    input.acceptToken(terms.Attribute);
    return;
  }
  const intrinsic = intrinsicPrefixes.find((prefix) => isAhead(input, prefix));
  if (intrinsic === undefined) return;
  input.advance(intrinsic.length);
  while (isLetter(input.next) || isDigit(input.next)) input.advance();
  input.acceptToken(terms.ScopedIntrinsic);
});

/** Advances over a name. An unterminated quoted part extends to the end of the text. */
function readName(input: InputStream): void {
  while (!endsName(input.next)) {
    if (input.next !== quote) {
      input.advance();
      continue;
    }
    input.advance();
    while (input.next !== quote && input.next !== endOfText) {
      if (input.next === backslash) input.advance();
      input.advance();
    }
    input.advance();
  }
}

function isAhead(input: InputStream, word: string): boolean {
  const last = word.length - 1;
  if (input.peek(last) !== word.charCodeAt(last)) return false;
  for (let at = 0; at < last; at++) {
    if (input.peek(at) !== word.charCodeAt(at)) return false;
  }
  return true;
}

function isDigit(unit: number): boolean {
  return unit >= 48 && unit <= 57;
}

function isLetter(unit: number): boolean {
  const lower = unit | 32;
  return unit !== endOfText && lower >= 97 && lower <= 122;
}

/** Emits no token: complete text has no gaps. */
export const gaps: ExternalTokenizer = new ExternalTokenizer(() => undefined);

/**
 * Replaces `gaps` for unfinished text. It emits a missing operand before `}`, `)`, `&&`, `||` or
 * the end, and closes open braces and parentheses at the end.
 */
export const lenientGaps: ExternalTokenizer = new ExternalTokenizer((input, stack) => {
  const { next } = input;
  const isJoined = (next === 38 || next === 124) && input.peek(1) === next;
  const isClosed = next === 41 || next === 125 || next === endOfText;
  if ((isJoined || isClosed) && stack.canShift(terms.Missing)) input.acceptToken(terms.Missing);
  else if (next === endOfText && stack.canShift(terms.MissingEnd)) {
    input.acceptToken(terms.MissingEnd);
  }
});
