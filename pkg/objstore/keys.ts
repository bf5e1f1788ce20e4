/**
 * Rules for keys. All stores share them, so a key that is valid in a bucket is also valid on a
 * disk.
 */
import { type Reason, SpoorError } from "#pkg/errors/errors.ts";

/** Longest key in UTF-8 bytes: the limit of S3 and GCS. */
export const keyBytesMax = 1024;
/** Longest name between two slashes in UTF-8 bytes: NAME_MAX of Linux and macOS file systems. */
export const segmentBytesMax = 255;
/** First segment reserved for the unfinished files of stores on a disk. */
export const reservedFolder = ".tmp";

/** Throws InvalidInput unless `key` can name an object in every store. */
export function checkKey(key: string): void {
  if (key === "") fail("key", key, "it is empty");
  checkText("key", key);
  if (segmentOf(key, 0) === reservedFolder) fail("key", key, `${reservedFolder}/ is reserved`);
  for (let start = 0; start <= key.length;) {
    const segment = segmentOf(key, start);
    checkSegment("key", key, segment);
    start += segment.length + 1;
  }
}

/** Throws InvalidInput unless `prefix` is empty or can be the beginning of a key. */
export function checkPrefix(prefix: string): void {
  checkText("prefix", prefix);
  const folder = folderOf(prefix);
  for (let start = 0; start < folder.length;) {
    const segment = segmentOf(prefix, start);
    checkSegment("prefix", prefix, segment);
    start += segment.length + 1;
  }
}

/** Throws InvalidInput unless `prefix` is empty or names a folder: "a/b/". */
export function checkFolderPrefix(prefix: string): void {
  checkPrefix(prefix);
  if (prefix !== "" && !prefix.endsWith("/")) fail("folder", prefix, "it does not end with a /");
}

/** Returns a key or prefix up to and including its last slash: "a/b/c" -> "a/b/", "a" -> "". */
export function folderOf(key: string): string {
  return key.slice(0, key.lastIndexOf("/") + 1);
}

/** Compares two well-formed strings in UTF-8 byte order (`<` compares UTF-16 code units). */
export function compareKeys(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let index = 0; index < shared; index++) {
    const left = a.charCodeAt(index);
    const right = b.charCodeAt(index);
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/** UTF-8 sorts surrogate pairs (U+10000 and above) after U+E000..U+FFFF, UTF-16 before them. */
function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

function segmentOf(key: string, start: number): string {
  const slash = key.indexOf("/", start);
  return slash < 0 ? key.slice(start) : key.slice(start, slash);
}

function checkText(what: string, text: string): void {
  if (!text.isWellFormed()) fail(what, text, "it contains half of a surrogate pair");
  if (text.includes("\0")) fail(what, text, "it contains a NUL");
  if (Buffer.byteLength(text) > keyBytesMax) {
    fail(what, text, `it is longer than ${keyBytesMax} bytes`, "key_too_long");
  }
}

function checkSegment(what: string, key: string, segment: string): void {
  if (segment === "") fail(what, key, "it has an empty segment");
  if (segment === "." || segment === "..") fail(what, key, `it has a ${segment} segment`);
  if (segment.length > segmentBytesMax || Buffer.byteLength(segment) > segmentBytesMax) {
    fail(what, key, `a segment is longer than ${segmentBytesMax} bytes`, "key_too_long");
  }
}

function fail(what: string, text: string, why: string, reason: Reason = "invalid_key"): never {
  const shown = JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
  throw new SpoorError("InvalidInput", `invalid object ${what} ${shown}: ${why}`, { reason });
}
