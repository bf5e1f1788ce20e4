// HOT: runs per distinct text of every search with a pattern; measured by filter.bench.ts.
/**
 * Finds the entries of a dictionary that a pattern matches, on their bytes. The regular expression
 * engine runs only for entries with a needle: a text that every match must contain.
 *
 * Searching the bytes of all entries at once finds a needle's next offset in one native call:
 *
 *     entries:   | order-1 | order-2 | order-77777 | order-3 |
 *     needle 77777                        ^ next = 22: entries before it are decided
 */
import { type ByteValues, valueText } from "#pkg/columns/columns.ts";
import type { Glob, RegexShape } from "#pkg/traceql/traceql.ts";

/** A pattern to look for in texts. */
export interface TextPattern {
  shape: RegexShape | undefined;
  matches(text: string): boolean;
}

/**
 * Tests the entries whose mark is 1. Keeps the mark of entries that match and sets the others to 0.
 */
export function markMatches(dictionary: ByteValues, pattern: TextPattern, marks: Uint8Array): void {
  const { shape } = pattern;
  if (shape?.kind === "globs") {
    markGlobs(dictionary, shape.globs, marks);
    return;
  }
  if (shape !== undefined) markNeedles(dictionary, shape.needles, marks);
  for (let code = 0; code < marks.length; code++) {
    if (marks[code] === 1 && !pattern.matches(valueText(dictionary, code))) marks[code] = 0;
  }
}

/** Returns the bytes of all entries as a Buffer, whose `indexOf` is native. */
function bytesOf({ bytes, offsets, length }: ByteValues): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, offsets[length]));
}

function markNeedles(dictionary: ByteValues, needles: readonly string[], marks: Uint8Array): void {
  const asked = marks.slice();
  marks.fill(0);
  for (const needle of needles) {
    const text = Buffer.from(needle);
    eachHolding(dictionary, text, asked, (code) => (marks[code] = 1));
  }
}

/** Calls `found` for each requested entry that contains the text, in order. */
function eachHolding(
  dictionary: ByteValues,
  text: Buffer,
  asked: Uint8Array,
  found: (code: number, at: number) => void,
): void {
  const { offsets } = dictionary;
  const all = bytesOf(dictionary);
  let next = -1;
  for (let code = 0; code < asked.length; code++) {
    if (asked[code] === 0) continue;
    if (next < offsets[code]) {
      next = all.indexOf(text, offsets[code]);
      if (next < 0) return;
    }
    if (next + text.length <= offsets[code + 1]) found(code, next);
  }
}

function markGlobs(dictionary: ByteValues, globs: readonly Glob[], marks: Uint8Array): void {
  const asked = marks.slice();
  marks.fill(0);
  const all = bytesOf(dictionary);
  for (const glob of globs) {
    const compiled = compileGlob(glob);
    const mark = (code: number): void => {
      const { offsets } = dictionary;
      if (holdsGlob(all, offsets[code], offsets[code + 1], compiled)) marks[code] = 1;
    };
    const [rarest] = compiled.parts.toSorted((a, b) => b.length - a.length);
    if (compiled.parts.length > 2 && rarest.length > 1) {
      eachHolding(dictionary, rarest, asked, mark);
      continue;
    }
    for (let code = 0; code < asked.length; code++) if (asked[code] === 1) mark(code);
  }
}

interface CompiledGlob {
  parts: readonly Buffer[];
  gaps: readonly number[];
}

function compileGlob({ parts, gaps }: Glob): CompiledGlob {
  return { parts: parts.map((part) => Buffer.from(part)), gaps };
}

/** Returns whether the text at [start, end) consists of the parts and the gaps between them. */
function holdsGlob(
  all: Buffer,
  start: number,
  end: number,
  { parts, gaps }: CompiledGlob,
): boolean {
  const last = parts.length - 1;
  const first = parts[0];
  if (!standsAt(all, start, end, first)) return false;
  let at = start + first.length;
  if (last === 0) return at === end;
  for (let i = 1; i < last; i++) {
    at = stepOver(all, at, end, gaps[i - 1]);
    at = findPart(all, at, end, parts[i]);
    if (at < 0) return false;
    at += parts[i].length;
  }
  const from = stepOver(all, at, end, gaps[last - 1]);
  const tail = end - parts[last].length;
  return from >= 0 && from <= tail && standsAt(all, tail, end, parts[last]);
}

/** Returns the offset after some characters; -1 if there are fewer. */
function stepOver(all: Buffer, at: number, end: number, characters: number): number {
  let place = at;
  for (let i = 0; i < characters; i++) {
    if (place >= end) return -1;
    place++;
    // Bytes 10xxxxxx continue a character.
    while (place < end && (all[place] & 0xc0) === 0x80) place++;
  }
  return place;
}

function standsAt(all: Buffer, at: number, end: number, part: Buffer): boolean {
  if (at + part.length > end) return false;
  for (let i = 0; i < part.length; i++) if (all[at + i] !== part[i]) return false;
  return true;
}

/** Returns the first offset of the part from `at` on; -1 if there is none, or `at` is -1. */
function findPart(all: Buffer, at: number, end: number, part: Buffer): number {
  if (at < 0) return -1;
  for (let place = at; place + part.length <= end; place++) {
    if (standsAt(all, place, end, part)) return place;
  }
  return -1;
}
