/** Estimates the size and the cost of a regular expression before it is compiled. */

/** Highest repetition count; RE2 refuses larger ones. */
const countMax = 1000;

/**
 * Estimates the number of steps in the compiled program: characters, classes, groups and operators,
 * times the counts of the enclosing repetitions, because a program contains a copy per repetition.
 */
export function regexSize(pattern: string): number {
  const outer: number[] = [];
  // Sizes of the open group and of its last element, which a repetition copies.
  let size = 0;
  let last = 0;
  for (let at = 0; at < pattern.length;) {
    const count = countAt(pattern, at);
    const char = pattern[at];
    if (count !== undefined) {
      size += last * (count.times - 1);
      last *= count.times;
      at += count.length;
      continue;
    }
    if (char === "(") {
      outer.push(size);
      size = 0;
      last = 0;
    } else if (char === ")") {
      last = size + 2;
      size = (outer.pop() ?? 0) + last;
    } else if ("*+?".includes(char)) {
      size++;
      last++;
    } else {
      size++;
      last = 1;
    }
    at += lengthAt(pattern, at);
  }
  return outer.reduce((sum, each) => sum + each, size);
}

/** Parses a repetition `{n}`, `{n,}` or `{n,m}` at this position. */
function countAt(pattern: string, at: number): { times: number; length: number } | undefined {
  if (pattern[at] !== "{") return undefined;
  const [whole, least, most] = matchAt(/\{(\d{1,9})(?:,(\d{0,9}))?\}/y, pattern, at);
  if (whole === undefined) return undefined;
  const times = Math.max(1, Number(least), Number(most ?? 0));
  return { times: Math.min(times, countMax), length: whole.length };
}

/** Returns the length of the escape, class or character at this position, UTF-16 units. */
function lengthAt(pattern: string, at: number): number {
  if (pattern[at] === "\\") {
    const [escape] = matchAt(/\\(?:[pPx]\{[^}]*\}|Q.*?(?:\\E|$)|[^]|$)/sy, pattern, at);
    return escape?.length ?? 1;
  }
  if (pattern[at] !== "[") return 1;
  const [charClass] = matchAt(/\[\^?\]?(?:\\[^]|\[:\^?\w+:\]|[^\]\\])*\]?/y, pattern, at);
  return charClass?.length ?? 1;
}

function matchAt(regex: RegExp, text: string, at: number): Array<string | undefined> {
  regex.lastIndex = at;
  return regex.exec(text) ?? [];
}

/** Cost to compile a class, in steps: measured in the worst case. */
const unicodeClassCost = 64;
const foldedClassCost = 160;
/** Cost of a range beyond ASCII, whose letters are case-folded one by one. */
const foldedRangeCost = 1300;

/**
 * Estimates the cost to compile the pattern, in steps of its program. A Unicode class costs as much
 * as many characters, even if the resulting program is small.
 */
export function regexCost(pattern: string): number {
  const isFolded = /\(\?[a-zA-Z]*i/.test(pattern);
  const classCost = isFolded ? foldedClassCost : unicodeClassCost;
  let cost = regexSize(pattern);
  for (let at = 0; at < pattern.length;) {
    const length = lengthAt(pattern, at);
    const part = pattern.slice(at, at + length);
    if (part.startsWith("[") || part.startsWith("\\")) {
      cost += part.length - 1 + classCost * countOf(part, /\\[pP]|\[:/g);
      if (isFolded && part.startsWith("[")) {
        cost += foldedRangeCost * countOf(part, /(?:\P{ASCII}|\\x..|\})-|-(?:\P{ASCII}|\\)/gu);
      }
    }
    at += length;
  }
  return cost;
}

function countOf(text: string, what: RegExp): number {
  return text.match(what)?.length ?? 0;
}
