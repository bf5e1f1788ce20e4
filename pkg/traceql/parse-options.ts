/** What a caller decides about parsing. */
import type { BuildContext } from "./build-field.ts";
import { RegexCache } from "./regex.ts";

export interface ParseOptions {
  /** Remembers regular expressions; a new one unless given. */
  regexes?: RegexCache;
  /** RegexElsewhere is thrown where regular expressions cost more; no bound unless given. */
  regexSizeHere?: number;
}

/** The context of a text of which nothing was read. */
export function contextOf(
  text: string,
  { isLenient, ...options }: ParseOptions & { isLenient: boolean },
): BuildContext {
  const { regexes = new RegexCache(), regexSizeHere = Number.POSITIVE_INFINITY } = options;
  return { text, isLenient, regexes, regexSizeHere, regexSize: 0, deepest: 0 };
}
