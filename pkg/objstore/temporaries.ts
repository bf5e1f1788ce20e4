/**
 * Names of temporary objects, which a store creates beside the object that it assembles if its
 * protocol needs them. The call removes them before it returns. A process that dies leaves them
 * behind; the compactor recognises them by name and removes them by age.
 */
import { randomUUID } from "node:crypto";
import { folderOf, keyBytesMax } from "./keys.ts";

const mark = ".assembling-";

/** Returns a new name beside `key`; undefined if the name would exceed `keyBytesMax`. */
export function temporaryKey(key: string): string | undefined {
  const name = `${folderOf(key)}${mark}${randomUUID()}`;
  return Buffer.byteLength(name) <= keyBytesMax ? name : undefined;
}

/** Returns whether `key` names a temporary object of an assembly. */
export function isTemporary(key: string): boolean {
  return /^\.assembling-[0-9a-f]{8}-[0-9a-f-]{27}$/u.test(key.slice(folderOf(key).length));
}
