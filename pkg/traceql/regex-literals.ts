/** Recognizes patterns that are only a choice of texts: a set replaces the regular expression. */
import { queryBytesMax } from "./limits.ts";

/** Characters whose escape means the character itself. */
const punctuation = /[!-/:-@[-`{-~]/;
const special = ".+*?()|[]{}^$\\";

/**
 * Returns the texts of an alternation such as `a|b`, `^(a|b)$` or `(?:a|b)`; undefined for any
 * other pattern. A pattern must match the whole text, so anchors at its ends have no effect.
 */
export function literalsOf(pattern: string): string[] | undefined {
  if (pattern.length > queryBytesMax) return undefined;
  const texts: string[] = [];
  let text = "";
  const body = ungrouped(pattern);
  for (let at = 0; at < body.length; at++) {
    const char = body[at];
    if (char === "|") {
      texts.push(text);
      text = "";
    } else if (char === "\\") {
      const escaped = body[++at] ?? "";
      if (!punctuation.test(escaped)) return undefined;
      text += escaped;
    } else if (special.includes(char)) return undefined;
    else text += char;
  }
  texts.push(text);
  return texts;
}

/** Removes anchors and groups around the whole pattern. */
function ungrouped(pattern: string): string {
  let body = pattern;
  for (;;) {
    const [, inner] = /^\^?\((?:\?:)?([^()]*)\)\$?$/s.exec(body) ?? /^\^([^|]*)$/s.exec(body) ?? [];
    const [, unended] = /^([^|]*[^\\|])\$$/s.exec(inner ?? body) ?? [];
    const next = unended ?? inner;
    if (next === undefined) return body;
    body = next;
  }
}
