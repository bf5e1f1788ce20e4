/** Removes secrets from text. */

/** Replacement for removed text. */
export const redacted = "<redacted>";

/** Matches user and password before a host: `scheme://user:password@host`. */
const userinfo = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/?#"'<>]+@/gi;

/** Replaces the user names and passwords of URLs in a text. */
export function redactUserinfo(text: string): string {
  return text.includes("@") ? text.replaceAll(userinfo, `$1${redacted}@`) : text;
}
