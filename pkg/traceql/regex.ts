/** Regular expressions of TraceQL: RE2 in linear time, matched against the whole text. */
import { RE2JS, RE2JSException } from "re2js";
import { SpoorError } from "#pkg/errors/errors.ts";
import { patternCharsMax } from "./limits.ts";

export interface Regex {
  /** Whether the whole of `text` matches; `.` matches newlines too. */
  matches(text: string): boolean;
}

/** Compiles an RE2 pattern; InvalidInput if it is not one. */
export function compileRegex(pattern: string): Regex {
  const compiled = compile(pattern);
  return { matches: (text) => compiled.matches(text) };
}

function compile(pattern: string): RE2JS {
  if (pattern.length > patternCharsMax) {
    throw new SpoorError(
      "InvalidInput",
      `compile a regular expression: ${pattern.length} characters, at most ${patternCharsMax}`,
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
