/** Errors in a query's text: position, words and description. */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Range } from "./ast.ts";
import { depthMax } from "./limits.ts";

const wordsCharsMax = 40;

export interface TextPosition {
  /** From 1. */
  line: number;
  /** From 1, in characters (code points). */
  column: number;
}

/** Returns the line and column of an offset in UTF-16 units. */
export function positionOf(text: string, offset: number): TextPosition {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf("\n") + 1;
  const line = before.split("\n").length;
  return { line, column: Array.from(before.slice(lineStart)).length + 1 };
}

/** Returns an InvalidInput error at an offset, with reason `traceql`. */
export function problemAtOffset(text: string, offset: number, message: string): SpoorError {
  const { line, column } = positionOf(text, offset);
  const whole = `parse error at line ${line}, col ${column}: ${message}`;
  return new SpoorError("InvalidInput", whole, { reason: "traceql" });
}

/** Returns an error at `range`; the message quotes the words there. */
export function problemAt(text: string, range: Range, message: string): SpoorError {
  const words = shorten(text.slice(range.from, range.to));
  return problemAtOffset(text, range.from, `${message}: ${words}`);
}

/** Returns the error for nesting beyond `depthMax`. */
export function tooDeep(text: string, offset: number): SpoorError {
  return problemAtOffset(text, offset, `more than ${depthMax} levels of nesting or operators`);
}

/** Quotes the words on one line; truncates them to 40 characters. */
export function shorten(words: string): string {
  const line = words.replaceAll(/\s+/g, " ");
  const chars = Array.from(line.slice(0, 4 * wordsCharsMax));
  const isShort = chars.length <= wordsCharsMax && line.length <= 4 * wordsCharsMax;
  return `"${isShort ? line : `${chars.slice(0, wordsCharsMax - 3).join("")}...`}"`;
}
