/** Regular expressions of TraceQL: RE2 (linear time), matched against the whole text. */
import { LRUCache } from "lru-cache";
import { RE2JS, RE2JSException } from "re2js";
import { SpoorError } from "#pkg/errors/errors.ts";
import { regexSizeMax } from "./limits.ts";
import { literalsOf } from "./regex-literals.ts";
import { type RegexShape, shapeOf } from "./regex-shape.ts";
import { regexCost, regexSize } from "./regex-size.ts";

export interface Regex {
  /** Returns whether the whole text matches; `.` matches newlines too. */
  readonly matches: (text: string) => boolean;
  /** The matching texts, if the pattern is only a choice of texts. */
  readonly literals: ReadonlySet<string> | undefined;
  /** What a text's bytes must hold; undefined if that does not help. */
  readonly shape: RegexShape | undefined;
}

/** Compiles an RE2 pattern. Throws InvalidInput if it is invalid or costs over `regexSizeMax`. */
export function compileRegex(pattern: string): Regex {
  const texts = literalsOf(pattern);
  if (texts !== undefined) {
    const literals = new Set(texts);
    const shape = texts.length <= shapedTextsMax ? globsOf(texts) : undefined;
    return { literals, shape, matches: (text) => literals.has(text) };
  }
  const compiled = compile(pattern);
  const shape = shapeOf(pattern);
  return { literals: undefined, shape, matches: (text) => compiled.matches(text) };
}

/** A choice of more texts is looked up in a set. */
const shapedTextsMax = 8;

function globsOf(texts: readonly string[]): RegexShape {
  return { kind: "globs", globs: texts.map((text) => ({ parts: [text], gaps: [] })) };
}

/** Estimates the cost to compile and keep a pattern, in steps; 0 for a choice of texts. */
export function costOfRegex(pattern: string): number {
  return literalsOf(pattern) === undefined ? regexCost(pattern) : 0;
}

function compile(pattern: string): RE2JS {
  const size = regexSize(pattern);
  if (size > regexSizeMax) {
    throw new SpoorError(
      "InvalidInput",
      `compile a regular expression: size ${size} with its repetitions, at most ${regexSizeMax}`,
      { reason: "traceql" },
    );
  }
  const cost = regexCost(pattern);
  if (cost > regexSizeMax) {
    throw new SpoorError(
      "InvalidInput",
      `compile a regular expression: it costs ${cost} steps with its classes, ` +
        `at most ${regexSizeMax}`,
      { reason: "traceql" },
    );
  }
  try {
    return RE2JS.compile(pattern, RE2JS.DOTALL);
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    throw new SpoorError("InvalidInput", `compile a regular expression: ${error.message}`, {
      cause: error,
      reason: "traceql",
    });
  }
}

/** An LRU cache of the compiled regular expressions of one thread. */
export class RegexCache {
  /** Sized by cost, or by length for a choice of texts. */
  readonly #known = new LRUCache<string, Regex>({
    maxSize: 8 * regexSizeMax,
    sizeCalculation: (regex, pattern) =>
      1 + (regex.literals === undefined ? regexCost(pattern) : pattern.length),
  });

  /** Number of cached expressions. */
  get size(): number {
    return this.#known.size;
  }

  /** Returns the compiled pattern. Throws as `compileRegex` does. */
  get(pattern: string): Regex {
    let regex = this.#known.get(pattern);
    if (regex === undefined) {
      regex = compileRegex(pattern);
      this.#known.set(pattern, regex);
    }
    return regex;
  }
}
