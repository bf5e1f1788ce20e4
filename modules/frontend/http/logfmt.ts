/** Parses logfmt, the format of the search parameter `tags`: `key=value other="two words"`. */
import { invalid } from "./params-errors.ts";

/** Returns the pairs in order. A key without `=` has an empty value. Throws InvalidInput. */
export function parseLogfmt(text: string): Map<string, string> {
  const pairs = new Map<string, string>();
  let at = 0;
  for (;;) {
    while (at < text.length && isSpace(text, at)) at++;
    if (at >= text.length) return pairs;
    const keyEnd = endOf(text, at);
    if (keyEnd === at) throw unexpected(text, at);
    const key = text.slice(at, keyEnd);
    let value = "";
    at = keyEnd;
    if (text[at] === "=") [value, at] = readValue(text, at + 1);
    // No space after a key or a value: `a"b`, `a=b=c`, `a="b"c`.
    if (at < text.length && !isSpace(text, at)) throw unexpected(text, at);
    if (pairs.has(key)) throw invalid(`invalid tags: tag ${key} has been set twice`);
    pairs.set(key, value);
  }
}

function readValue(text: string, from: number): [value: string, end: number] {
  if (text[from] !== '"') {
    const end = endOf(text, from);
    return [text.slice(from, end), end];
  }
  const quoted = /^"(?:[^"\\]|\\[^])*"/.exec(text.slice(from));
  if (quoted === null) throw syntaxError("unterminated quoted value", text.length);
  const value = unquoted(quoted[0]);
  if (value === undefined) throw syntaxError("invalid quoted value", from);
  return [value, from + quoted[0].length];
}

/** Decodes a quoted value: JSON's escapes, and unescaped control characters. */
function unquoted(quoted: string): string | undefined {
  try {
    const raw = quoted.replaceAll(/\p{Cc}/gu, (char) => JSON.stringify(char).slice(1, -1));
    return JSON.parse(raw) as string;
  } catch {
    return undefined;
  }
}

/** Returns the end of a key or of an unquoted value. */
function endOf(text: string, from: number): number {
  let at = from;
  while (at < text.length && !isSpace(text, at) && text[at] !== "=" && text[at] !== '"') at++;
  return at;
}

function isSpace(text: string, at: number): boolean {
  return text[at] <= " ";
}

function unexpected(text: string, at: number): Error {
  return syntaxError(`unexpected '${text[at]}'`, at);
}

/** Returns a syntax error. `at` counts from 0, the position in the message from 1. */
function syntaxError(what: string, at: number): Error {
  return invalid(`invalid tags: ${what} at pos ${at + 1}`);
}
