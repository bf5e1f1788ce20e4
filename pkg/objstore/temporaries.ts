/**
 * Names of objects that a store makes beside the one it is assembling, where its protocol needs
 * them. They are removed before the call ends. A process that dies leaves them: who cleans up knows
 * them by their name, and that they are old.
 */
import { randomUUID } from "node:crypto";
import { folderOf, keyBytesMax } from "./keys.ts";

const mark = ".assembling-";

/** Undefined if the folder's name is so long that nothing fits behind it. */
export function temporaryKey(key: string): string | undefined {
  const name = `${folderOf(key)}${mark}${randomUUID()}`;
  return Buffer.byteLength(name) <= keyBytesMax ? name : undefined;
}

/** Whether an object is, or was, a part of another that is being assembled. */
export function isTemporary(key: string): boolean {
  return /^\.assembling-[0-9a-f]{8}-[0-9a-f-]{27}$/u.test(key.slice(folderOf(key).length));
}
