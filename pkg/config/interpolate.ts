/**
 * Expands `${NAME}` and `${NAME:-default}` in the values of a config file. The default applies if
 * the variable is unset or empty, as in a shell; `$${` is an escape for the characters `${`.
 */
import { SpoorError } from "#pkg/errors/errors.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Maximum length of an expanded value, characters. */
export const expandedCharsMax: number = 1024 * 1024;

const referencePattern = /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/y;

/** Returns whether `text` contains a variable. */
export function hasVariables(text: string): boolean {
  return text.includes("${");
}

/** Expands the variables of a text. Throws InvalidInput, naming a variable that is not set. */
export function expandVariables(text: string, env: Environment): string {
  let out = "";
  let position = 0;
  for (;;) {
    const at = text.indexOf("${", position);
    if (at < 0) return bounded(out + text.slice(position));
    if (at > position && text[at - 1] === "$") {
      out += `${text.slice(position, at - 1)}\${`;
      position = at + 2;
      continue;
    }
    referencePattern.lastIndex = at;
    const match = referencePattern.exec(text);
    if (match === null) {
      throw invalid("after ${ a NAME} or NAME:-default} is expected; write $${ for the text ${");
    }
    out = bounded(out + text.slice(position, at) + valueOf(match[1], match[2], env));
    position = at + match[0].length;
  }
}

/** Returns the text that `expandVariables` expands to `text`. */
export function escapeVariables(text: string): string {
  return text.replaceAll("${", () => "$${");
}

function valueOf(name: string, fallback: string | undefined, env: Environment): string {
  const value = Object.hasOwn(env, name) ? env[name] : undefined;
  if (fallback !== undefined) return value === undefined || value === "" ? fallback : value;
  if (value === undefined) throw invalid(`the environment variable ${name} is not set`);
  return value;
}

function bounded(text: string): string {
  if (text.length > expandedCharsMax) {
    throw invalid(
      `the value with its variables has more than ${String(expandedCharsMax)} characters`,
    );
  }
  return text;
}

function invalid(message: string): SpoorError {
  return new SpoorError("InvalidInput", message, { reason: "invalid_config" });
}
