/** Escapes text for a terminal. */

/**
 * Makes untrusted text safe for a terminal: replaces control characters (escape sequences, line
 * ends), invisible and direction-changing characters by `\u{..}`.
 */
export function escapeControls(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`,
  );
}
