/** What of a text must not be shown. */

/** What stands in place of what is left out. */
export const redacted = "<redacted>";

/** User and password in front of a host: `scheme://user:password@host`. */
const userinfo = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/?#"'<>]+@/gi;

/** Returns the text with user names and passwords of its URLs left out. */
export function redactUserinfo(text: string): string {
  return text.includes("@") ? text.replaceAll(userinfo, `$1${redacted}@`) : text;
}
