/**
 * What a pattern demands of a text's bytes, so that most texts are decided without the regular
 * expression engine.
 *
 *     "POST /(carts|users)/.*"   globs, which are the whole pattern:
 *                                "POST /carts/" *   and   "POST /users/" *
 *     "order-[0-9]+7777"         needles, one of which every matching text holds: "order-"
 *
 * Only valid patterns come here. Whatever this parser does not know (flags, counts, classes by
 * name) gives a weaker shape or none, never a wrong one.
 */

/**
 * A choice of texts with gaps: `parts` in this order, nothing between the first one and the start
 * and between the last one and the end, any text between two of them; `gaps[i]` characters at the
 * least between parts i and i + 1. Parts may be empty.
 */
export interface Glob {
  parts: readonly string[];
  gaps: readonly number[];
}

export type RegexShape =
  | { kind: "globs"; globs: readonly Glob[] }
  | { kind: "needles"; needles: readonly string[] };

/** Alternatives that groups may expand to. */
const sequencesMax = 32;
const nestingMax = 16;

type Token =
  | { kind: "text"; text: string }
  /** `.*` (0) or `.+` (1). */
  | { kind: "gap"; least: number }
  /** Matches something that only the engine knows. */
  | { kind: "opaque" };

type Sequence = readonly Token[];

/** The shape of a valid pattern; undefined if it demands nothing that helps. */
export function shapeOf(pattern: string): RegexShape | undefined {
  const sequences = new ShapeParser(pattern).parse();
  if (sequences === undefined) return undefined;
  const joined = sequences.map(joinTexts);
  if (joined.every((tokens) => tokens.every(({ kind }) => kind !== "opaque"))) {
    return { kind: "globs", globs: joined.map(globOf) };
  }
  const needles = joined.map(longestText);
  return needles.every((text) => text !== "") ? { kind: "needles", needles } : undefined;
}

class ShapeParser {
  readonly #chars: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(pattern: string) {
    this.#chars = Array.from(pattern);
  }

  /** Undefined for what this parser does not know. */
  parse(): Sequence[] | undefined {
    const sequences = this.#alternatives();
    return this.#at === this.#chars.length ? sequences : undefined;
  }

  #alternatives(): Sequence[] | undefined {
    const all: Sequence[] = [];
    for (;;) {
      const some = this.#concatenation();
      if (some === undefined) return undefined;
      for (const sequence of some) all.push(sequence);
      if (all.length > sequencesMax) return undefined;
      if (this.#chars[this.#at] !== "|") return all;
      this.#at++;
    }
  }

  #concatenation(): Sequence[] | undefined {
    let out: Sequence[] = [[]];
    while (this.#at < this.#chars.length) {
      const char = this.#chars[this.#at];
      if (char === "|" || char === ")") return out;
      const atom = this.#repeated();
      if (atom === undefined || out.length * atom.length > sequencesMax) return undefined;
      out = out.flatMap((before) => atom.map((after) => [...before, ...after]));
    }
    return out;
  }

  /** An atom with the repetition behind it. */
  #repeated(): Sequence[] | undefined {
    const isDot = this.#chars[this.#at] === ".";
    const atom = this.#atom();
    if (atom === undefined) return undefined;
    const char = this.#chars[this.#at];
    if (char === "{") return undefined;
    if (char !== "*" && char !== "+" && char !== "?") return atom;
    this.#at++;
    // A lazy repetition matches the same whole texts.
    if (this.#chars[this.#at] === "?") this.#at++;
    if (isDot && char !== "?") return [[{ kind: "gap", least: char === "+" ? 1 : 0 }]];
    if (char !== "+") return [[{ kind: "opaque" }]];
    return atom.map((sequence) => [...sequence, { kind: "opaque" }]);
  }

  #atom(): Sequence[] | undefined {
    const char = this.#chars[this.#at++];
    switch (char) {
      case "(":
        return this.#group();
      case "[":
        return this.#skipClass() ? [[{ kind: "opaque" }]] : undefined;
      case ".":
        return [[{ kind: "opaque" }]];
      case "^":
        // The pattern is matched against the whole text.
        return this.#at === 1 ? [[]] : [[{ kind: "opaque" }]];
      case "$":
        return this.#at === this.#chars.length ? [[]] : [[{ kind: "opaque" }]];
      case "\\":
        return this.#escape();
      case "{":
      case "*":
      case "+":
      case "?":
        return undefined;
      default:
        return [[{ kind: "text", text: char }]];
    }
  }

  #group(): Sequence[] | undefined {
    if (this.#chars[this.#at] === "?") {
      if (this.#chars[this.#at + 1] !== ":") return undefined;
      this.#at += 2;
    }
    if (++this.#depth > nestingMax) return undefined;
    const inner = this.#alternatives();
    this.#depth--;
    if (this.#chars[this.#at] !== ")") return undefined;
    this.#at++;
    return inner;
  }

  /** Steps over a class of single characters and ranges. */
  #skipClass(): boolean {
    if (this.#chars[this.#at] === "^") this.#at++;
    for (let first = true; ; first = false) {
      const char = this.#chars[this.#at++];
      if (char === undefined || char === "[") return false;
      if (char === "\\") this.#at++;
      else if (char === "]" && !first) return true;
    }
  }

  #escape(): Sequence[] | undefined {
    const char = this.#chars[this.#at++] ?? "";
    if (/[!-/:-@[-`{-~]/.test(char)) return [[{ kind: "text", text: char }]];
    return /[dDsSwWbB]/.test(char) ? [[{ kind: "opaque" }]] : undefined;
  }
}

function joinTexts(tokens: Sequence): Token[] {
  const out: Token[] = [];
  for (const token of tokens) {
    const last = out.at(-1);
    if (token.kind === "text" && last?.kind === "text") {
      out[out.length - 1] = { kind: "text", text: last.text + token.text };
    } else if (token.kind === "gap" && last?.kind === "gap") {
      out[out.length - 1] = { kind: "gap", least: last.least + token.least };
    } else out.push(token);
  }
  return out;
}

function globOf(tokens: readonly Token[]): Glob {
  const parts = [""];
  const gaps: number[] = [];
  for (const token of tokens) {
    if (token.kind === "text") parts[parts.length - 1] = token.text;
    if (token.kind !== "gap") continue;
    gaps.push(token.least);
    parts.push("");
  }
  return { parts, gaps };
}

function longestText(tokens: readonly Token[]): string {
  let longest = "";
  for (const token of tokens) {
    if (token.kind === "text" && token.text.length > longest.length) longest = token.text;
  }
  return longest;
}
