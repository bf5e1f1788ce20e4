/** Parses numbers and durations in flags. */
import { parseDuration } from "#pkg/config/duration.ts";
import { flagText, type ParsedArgs, usageError } from "./flags.ts";

/** Returns a flag's integer, at least `min`; `fallback` without the flag. Throws a usage error. */
export function numberFlag(
  parsed: ParsedArgs,
  name: string,
  { fallback, min }: { fallback: number; min: number },
): number {
  const text = flagText(parsed, name);
  if (text === undefined) return fallback;
  const value = /^\d{1,15}$/.test(text) ? Number(text) : -1;
  if (value >= min) return value;
  throw usageError(`${name} ${JSON.stringify(text)} is not a number from ${String(min)} on`);
}

/** Returns a flag's duration, milliseconds. Throws a usage error. */
export function durationFlag(parsed: ParsedArgs, name: string, fallbackMs: number): number {
  const text = flagText(parsed, name);
  if (text === undefined) return fallbackMs;
  try {
    return parseDuration(text);
  } catch (cause) {
    throw usageError(`${name}: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}
