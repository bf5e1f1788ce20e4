/** Reads fields of parsed JSON strictly: missing or mistyped fields throw Corrupt. */
import { SpoorError } from "#pkg/errors/errors.ts";

export type JsonObject = { readonly [name: string]: unknown };

/** Returns a Corrupt error. `where` names the object's key and the line, `what` the fault. */
export function corrupt(where: string, what: string, cause?: unknown): SpoorError {
  return new SpoorError("Corrupt", `read ${where}: ${what}`, { reason: "corrupt_commit", cause });
}

/** Parses a JSON object. Throws Corrupt for anything else. */
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

/** Serialises parsed JSON. Throws Corrupt if it is too deep: only the serialiser recurses. */
export function printObject(value: JsonObject, where: string): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    throw corrupt(where, "it is nested too deeply", error);
  }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Returns a nested object; undefined if it is absent or null (writers use either). */
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

/** Returns a whole number from 0 to 2^53 - 1. */
export function uintField(parent: JsonObject, name: string, where: string): number {
  const value = own(parent, name);
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw corrupt(where, `${name} is not a whole number from 0 to 2^53 - 1`);
  }
  return value;
}

/** Returns a map of strings; empty if it is absent or null. Null values are left out. */
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

/** Returns an own field of the JSON; inherited ones like "constructor" are not fields. */
export function own(parent: JsonObject, name: string): unknown {
  return Object.hasOwn(parent, name) ? parent[name] : undefined;
}
