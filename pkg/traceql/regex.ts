/** Regular expressions of TraceQL: RE2 in linear time, matched against the whole text. */
import { RE2JS, RE2JSException } from "re2js";
import { SpoorError } from "#pkg/errors/errors.ts";
import { regexSizeMax } from "./limits.ts";
import { regexSize } from "./regex-size.ts";

export interface Regex {
  /** Whether the whole of `text` matches; `.` matches newlines too. */
  matches(text: string): boolean;
}

/** Compiles an RE2 pattern; InvalidInput if it is not one, or larger than `regexSizeMax`. */
export function compileRegex(pattern: string): Regex {
  const compiled = compile(pattern);
  return { matches: (text) => compiled.matches(text) };
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
