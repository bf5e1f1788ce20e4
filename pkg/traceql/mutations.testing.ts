/** Test support: damaged queries, and properties that must hold for any text. */
import { isDeepStrictEqual } from "node:util";
import { SpoorError } from "#pkg/errors/errors.ts";
import { traceqlSyntax } from "#pkg/errors/reasons.ts";
import { withoutRanges } from "./traceql.testing.ts";
import { formatQuery, parseLeniently, parseQuery } from "./traceql.ts";

const words = [
  "{ } ( ) && || ! = != =~ !~ < <= > >= >> << ~ !> !>> &> &~ + - * / % ^ | , . \" ` ' \\",
  "span. resource. event. link. instrumentation. parent. span: trace: .a .a-b name duration",
  "true false nil ok error server minInt 0 1 -1 1.5 .5 1e9 1h 100ms 0x1 99999999999999999999",
  "count() min( avg( by( select( coalesce() rate() compare( topk( with( quantile_over_time(",
  '"x" `x` "(?i)a.*" "[" ."a\u00a0b" /* */ // é 😀 \ud800 \u2028 \ufeff µs \0',
];
const pieces = [...words.flatMap((line) => line.split(" ")), " ", "\n", "\t"];

/** Returns a seeded random generator (mulberry32, public domain). */
export function seededRandom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** Applies one to four random damages to a random query of the list. */
export function mutate(queries: readonly string[], random: (below: number) => number): string {
  let text = queries[random(queries.length)];
  for (let left = 1 + random(4); left > 0; left--) {
    const at = random(text.length + 1);
    const end = Math.min(text.length, at + random(8));
    const piece = pieces[random(pieces.length)];
    const other = queries[random(queries.length)];
    switch (random(8)) {
      case 0:
        text = text.slice(0, at) + text.slice(end);
        break;
      case 1:
        text = text.slice(0, at) + piece + text.slice(at);
        break;
      case 2:
        text = text.slice(0, at) + piece + text.slice(end);
        break;
      case 3:
        text = text.slice(0, end) + text.slice(at);
        break;
      case 4:
        text = text.slice(0, at) + other.slice(random(other.length + 1));
        break;
      case 5:
        text = text.slice(0, at);
        break;
      case 6:
        text = text.slice(0, at) + "({!-"[random(4)].repeat(1 + random(12)) + text.slice(at);
        break;
      default:
        text = text.slice(0, at) + String.fromCharCode(random(0x250)) + text.slice(end);
    }
  }
  return text;
}

/**
 * Checks that the text is either a query with an equivalent canonical form, or refused with a
 * position in the text, and that lenient parsing does not throw. Returns whether it is a query.
 * Throws if a check fails.
 */
export function checkAnyText(text: string): boolean {
  parseLeniently(text);
  let query;
  try {
    query = parseQuery(text);
  } catch (error) {
    checkError(text, error);
    return false;
  }
  const canonical = formatQuery(query);
  if (!isDeepStrictEqual(withoutRanges(parseQuery(canonical)), withoutRanges(query))) {
    throw new Error(`${JSON.stringify(text)} differs from ${JSON.stringify(canonical)}`);
  }
  return true;
}

function checkError(text: string, error: unknown): void {
  const place =
    error instanceof SpoorError && error.code === "InvalidInput" && error.reason === traceqlSyntax
      ? /^parse error at line (\d+), col (\d+): ./s.exec(error.message)
      : null;
  const line = text.split("\n")[Number(place?.[1]) - 1];
  const column = Number(place?.[2]);
  if (line !== undefined && column >= 1 && column <= line.length + 1) return;
  throw new Error(`the error for ${JSON.stringify(text)} has no position in it`, { cause: error });
}

/** Checks `count` damaged queries; returns the number that were still queries. */
export function checkMutations(queries: readonly string[], count: number, seed: number): number {
  const random = seededRandom(seed);
  let validCount = 0;
  for (let index = 0; index < count; index++) {
    if (checkAnyText(mutate(queries, random))) validCount++;
  }
  return validCount;
}
