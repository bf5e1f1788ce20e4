/** Text for a terminal. */

/**
 * Text that came from elsewhere, safe for a terminal: control characters (escape sequences, line
 * ends), invisible and direction-changing ones become `\u{..}`.
 */
export function escapeControls(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`,
  );
}
