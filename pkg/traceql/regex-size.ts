/** How large the program of a regular expression becomes, told before it is compiled. */

/** RE2 refuses counts above. */
const countMax = 1000;

/**
 * About the number of steps in the compiled program: characters, classes, groups and operators,
 * times the counts of the repetitions around them, which a program holds in copies.
 */
export function regexSize(pattern: string): number {
  const outer: number[] = [];
  // Of the group that is open, and of the last thing in it, which a repetition copies.
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

/** `{n}`, `{n,}`, `{n,m}`. */
function countAt(pattern: string, at: number): { times: number; length: number } | undefined {
  if (pattern[at] !== "{") return undefined;
  const [whole, least, most] = matchAt(/\{(\d{1,9})(?:,(\d{0,9}))?\}/y, pattern, at);
  if (whole === undefined) return undefined;
  const times = Math.max(1, Number(least), Number(most ?? 0));
  return { times: Math.min(times, countMax), length: whole.length };
}

/** How many units the escape, the class or the character is long. */
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

/** What a class takes to be made, in units of a step: measured, in the worst case. */
const unicodeClassCost = 64;
const foldedClassCost = 160;
/** A range beyond ASCII whose letters are looked at one by one for their other case. */
const foldedRangeCost = 1300;

/**
 * About what compiling the pattern takes, in units of a step of its program: a class of Unicode
 * costs as much as many characters, whatever the program looks like in the end.
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
