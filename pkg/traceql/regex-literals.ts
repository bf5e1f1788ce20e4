/** Which patterns are nothing but a choice of texts: they need no program, only a set. */
import { queryBytesMax } from "./limits.ts";

/** Escapes of characters that are none without the backslash. */
const punctuation = /[!-/:-@[-`{-~]/;
const special = ".+*?()|[]{}^$\\";

/**
 * The texts of an alternation, as `a|b`, `^(a|b)$`, `(?:a|b)`; undefined for any other pattern. As
 * a pattern is matched against the whole text, anchors at its ends mean nothing.
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

/** The pattern without anchors and groups around all of it. */
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
