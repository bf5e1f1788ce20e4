/** Reads fields of parsed JSON strictly: what is missing or of another type is Corrupt. */
import { SpoorError } from "#pkg/errors/errors.ts";

export type JsonObject = { readonly [name: string]: unknown };

/** `where` names the object's key and the line, `what` the fault. */
export function corrupt(where: string, what: string, cause?: unknown): SpoorError {
  return new SpoorError("Corrupt", `read ${where}: ${what}`, { reason: "corrupt_commit", cause });
}

/** Parses text that must be a JSON object. */
export function parseObject(text: string, where: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw corrupt(where, "it is not JSON", error);
  }
  if (!isObject(value)) throw corrupt(where, "it is not a JSON object");
  return value;
}

/** The text of parsed JSON. Printing recurses where parsing does not: too deep is Corrupt. */
export function printObject(value: JsonObject, where: string): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    throw corrupt(where, "it is nested too deep", error);
  }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A nested object, or undefined if it is absent or null (writers differ in which they write). */
export function optionalObject(
  parent: JsonObject,
  name: string,
  where: string,
): JsonObject | undefined {
  const value = own(parent, name);
  if (value === undefined || value === null) return undefined;
  if (!isObject(value)) throw corrupt(where, `${name} is not an object`);
  return value;
}

export function stringField(parent: JsonObject, name: string, where: string): string {
  const value = own(parent, name);
  if (typeof value !== "string") throw corrupt(where, `${name} is not a string`);
  return value;
}

/** A whole number from 0 to 2^53 - 1. */
export function uintField(parent: JsonObject, name: string, where: string): number {
  const value = own(parent, name);
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw corrupt(where, `${name} is not a whole number from 0 to 2^53 - 1`);
  }
  return value;
}

/** A map of strings to strings; absent or null is the empty one. Null values are left out. */
export function stringMap(
  parent: JsonObject,
  name: string,
  where: string,
): Readonly<Record<string, string>> {
  const entries: [string, string][] = [];
  for (const [key, value] of Object.entries(optionalObject(parent, name, where) ?? {})) {
    if (value === null) continue;
    if (typeof value !== "string") throw corrupt(where, `${name}.${key} is not a string`);
    entries.push([key, value]);
  }
  // Not an assignment in a loop: a key "__proto__" must become a property, not a prototype.
  return Object.fromEntries(entries);
}

/** Only what the JSON itself holds: "constructor" and the like are not fields. */
export function own(parent: JsonObject, name: string): unknown {
  return Object.hasOwn(parent, name) ? parent[name] : undefined;
}
