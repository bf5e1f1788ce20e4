/** Parses literals: numbers, durations and strings, in the syntax of Go and Prometheus. */
import type { Static } from "./ast.ts";

export const int64Min: bigint = -(2n ** 63n);
export const int64Max: bigint = 2n ** 63n - 1n;

export type NumberStatic = Extract<Static, { type: "int" | "float" | "duration" }>;

/** The value of a literal, or a description of its error. */
export type Literal<T> = { value: T } | { problem: string };

/** Nanoseconds per unit. */
const unitNanos: ReadonlyMap<string, bigint> = new Map([
  ["ns", 1n],
  ["us", 1_000n],
  ["µs", 1_000n],
  ["μs", 1_000n],
  ["ms", 1_000_000n],
  ["s", 1_000_000_000n],
  ["m", 60_000_000_000n],
  ["h", 3_600_000_000_000n],
  ["d", 86_400_000_000_000n],
  ["w", 604_800_000_000_000n],
  ["y", 31_536_000_000_000_000n],
]);

/** Parses an integer, a float or a duration, without a sign. */
export function parseNumber(word: string): Literal<NumberStatic> {
  if (/^\d+$/.test(word)) {
    if (/^0\d/.test(word)) return { problem: "integers are decimal, without a leading zero" };
    const value = word.length > 19 ? int64Max + 1n : BigInt(word);
    if (value > int64Max) return { problem: "the integer does not fit in 64 bits" };
    return { value: { type: "int", value } };
  }
  if (/^(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(word)) {
    const value = Number(word);
    if (!Number.isFinite(value)) return { problem: "the float does not fit in 64 bits" };
    return { value: { type: "float", value } };
  }
  const nanos = parseDuration(word);
  if (nanos === undefined) return { problem: "not a number or duration" };
  if (nanos > int64Max) return { problem: "the duration does not fit in 64 bits of nanoseconds" };
  return { value: { type: "duration", value: nanos } };
}

/** Parses a Prometheus duration or a Go duration to nanoseconds. */
function parseDuration(word: string): bigint | undefined {
  if (word.length > 100) return undefined;
  if (/^(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$/.test(word)) return addParts(word);
  if (/^((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+$/.test(word)) return addParts(word);
  return undefined;
}

function addParts(word: string): bigint {
  let nanos = 0n;
  for (const [, whole, fraction = "", unit] of word.matchAll(/(\d*)(?:\.(\d*))?([a-zµμ]+)/g)) {
    const scale = unitNanos.get(unit)!;
    nanos += BigInt(whole) * scale;
    if (fraction !== "") nanos += (BigInt(fraction) * scale) / 10n ** BigInt(fraction.length);
  }
  return nanos;
}

/**
 * Parses a string literal. `\x` and octal escapes are bytes; bytes that are not UTF-8 become
 * U+FFFD.
 */
export function parseString(literal: string): Literal<string> {
  const quote = literal[0];
  const inside = literal.slice(1, -1);
  const isEscaped = quote === '"' && /(?<!\\)(\\\\)*\\$/.test(inside);
  if (literal.length < 2 || !literal.endsWith(quote) || isEscaped) {
    return { problem: "unterminated string" };
  }
  if (quote === "`") return { value: inside.replaceAll("\r", "") };
  const bytes: number[] = [];
  const encoder = new TextEncoder();
  for (const [, plain, escape] of inside.matchAll(/([^\\]+)|\\(U.{8}|u.{4}|x..|[0-7]{3}|.?)/gs)) {
    const part = plain === undefined ? bytesOfEscape(escape) : encoder.encode(plain);
    if (part === undefined) return { problem: "invalid escape sequence in the string" };
    for (const byte of part) bytes.push(byte);
  }
  return { value: new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes)) };
}

const simpleEscapes: ReadonlyMap<string, number> = new Map([
  ["a", 7],
  ["b", 8],
  ["f", 12],
  ["n", 10],
  ["r", 13],
  ["t", 9],
  ["v", 11],
  ["\\", 92],
  ['"', 34],
]);

/** Returns the UTF-8 bytes of the escape after a backslash; undefined if it is invalid. */
function bytesOfEscape(escape: string): Uint8Array | undefined {
  const simple = simpleEscapes.get(escape);
  if (simple !== undefined) return Uint8Array.of(simple);
  if (/^[0-3][0-7]{2}$/.test(escape)) return Uint8Array.of(Number.parseInt(escape, 8));
  const [, kind, digits] = /^([xuU])([0-9a-fA-F]+)$/.exec(escape) ?? [];
  if (digits === undefined) return undefined;
  const code = Number.parseInt(digits, 16);
  if (kind === "x") return Uint8Array.of(code);
  return isCharacter(code) ? new TextEncoder().encode(String.fromCodePoint(code)) : undefined;
}

function isCharacter(code: number): boolean {
  return code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
}

/** Parses the attribute name after a scope's prefix; quoted parts lose their quotes. */
export function parseName(written: string): Literal<string> {
  let name = "";
  for (let at = 0; at < written.length; at++) {
    if (written[at] !== '"') {
      name += written[at];
      continue;
    }
    for (at++; written[at] !== '"'; at++) {
      if (at >= written.length) return { problem: "unterminated quote in the attribute name" };
      if (written[at] === "\\") {
        at++;
        if (written[at] !== '"' && written[at] !== "\\") {
          return { problem: "invalid escape sequence in the attribute name" };
        }
      }
      name += written[at];
    }
  }
  return name === "" ? { problem: "the attribute name is empty" } : { value: name };
}
