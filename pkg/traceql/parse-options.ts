/** Options of parsing. */
import type { BuildContext } from "./build-field.ts";
import { RegexCache } from "./regex.ts";

export interface ParseOptions {
  /** Cache of compiled regular expressions; a new one by default. */
  regexes?: RegexCache;
  /** Highest cost of regular expressions before RegexElsewhere is thrown; unlimited by default. */
  regexSizeHere?: number;
}

/** Returns the initial context of a text. */
export function contextOf(
  text: string,
  { isLenient, ...options }: ParseOptions & { isLenient: boolean },
): BuildContext {
  const { regexes = new RegexCache(), regexSizeHere = Number.POSITIVE_INFINITY } = options;
  return { text, isLenient, regexes, regexSizeHere, regexSize: 0, deepest: 0 };
}
