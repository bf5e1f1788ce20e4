/** Errors in a query's text: where, which words, what is wrong. */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Range } from "./ast.ts";
import { depthMax } from "./limits.ts";

const wordsCharsMax = 40;

export interface Place {
  /** From 1. */
  line: number;
  /** From 1, in characters (code points). */
  column: number;
}

/** Line and column of an offset in UTF-16 units. */
export function placeOf(text: string, offset: number): Place {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf("\n") + 1;
  const line = before.split("\n").length;
  return { line, column: Array.from(before.slice(lineStart)).length + 1 };
}

/** The error at an offset; reason `traceql`. */
export function problemAtOffset(text: string, offset: number, message: string): SpoorError {
  const { line, column } = placeOf(text, offset);
  const whole = `parse error at line ${line}, col ${column}: ${message}`;
  return new SpoorError("InvalidInput", whole, { reason: "traceql" });
}

/** The error of the words in `range`, which the message then names. */
export function problemAt(text: string, range: Range, message: string): SpoorError {
  const words = shorten(text.slice(range.from, range.to));
  return problemAtOffset(text, range.from, `${message}: ${words}`);
}

/** The error of what is nested deeper than the bound. */
export function tooDeep(text: string, offset: number): SpoorError {
  return problemAtOffset(text, offset, `more than ${depthMax} levels of nesting or operators`);
}

/** The words in quotes on one line, cut in the middle if they are long. */
export function shorten(words: string): string {
  const line = words.replaceAll(/\s+/g, " ");
  const chars = Array.from(line.slice(0, 4 * wordsCharsMax));
  const isShort = chars.length <= wordsCharsMax && line.length <= 4 * wordsCharsMax;
  return `"${isShort ? line : `${chars.slice(0, wordsCharsMax - 3).join("")}...`}"`;
}
