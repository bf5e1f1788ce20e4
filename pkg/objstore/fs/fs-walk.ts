/** Walks the folders of a disk store in byte order of the keys. */
import type { Dirent } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { checkSignal } from "#pkg/objstore/checks.ts";
import { errnoOf } from "./fs-errors.ts";
import { compareKeys, reservedFolder } from "#pkg/objstore/keys.ts";
import type { ObjectInfo } from "#pkg/objstore/object-store.ts";

export interface Walk {
  root: string;
  prefix: string;
  startAfter: string;
  signal: AbortSignal | undefined;
  /** For messages. */
  attempt: string;
  /** Reads one folder: `readFolder`, or a test's function that records which folders are read. */
  read(path: string): Promise<Dirent[]>;
}

/**
 * Yields the objects of the walk below `folder` ("" or "a/b/"). Folders are read one by one as the
 * consumer advances. A folder whose keys all lie at or before `startAfter` is not read.
 */
export async function* walkFolder(walk: Walk, folder: string): AsyncGenerator<ObjectInfo> {
  const { root, prefix, startAfter } = walk;
  for (const name of sortNames(folder, await walk.read(join(root, folder)))) {
    checkSignal(walk.signal, walk.attempt);
    const key = folder + name;
    if (name.endsWith("/")) {
      if (!key.startsWith(prefix) && !prefix.startsWith(key)) continue;
      if (!startAfter.startsWith(key) && compareKeys(key, startAfter) < 0) continue;
      yield* walkFolder(walk, key);
    } else if (key.startsWith(prefix) && compareKeys(key, startAfter) > 0) {
      const info = await infoOf(root, key);
      if (info !== undefined) yield info;
    }
  }
}

/** Returns the names of the folders directly below `prefix` that hold a file at any depth. */
export async function foldersWithFiles(root: string, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of sortNames(prefix, await readFolder(join(root, prefix)))) {
    if (name.endsWith("/") && (await hasFile(root, prefix + name))) found.push(name.slice(0, -1));
  }
  return found.sort(compareKeys);
}

async function hasFile(root: string, folder: string): Promise<boolean> {
  for (const name of sortNames(folder, await readFolder(join(root, folder)))) {
    if (!name.endsWith("/") || (await hasFile(root, folder + name))) return true;
  }
  return false;
}

/** Returns files as "name" and folders as "name/", so that they sort like the keys below them. */
function sortNames(folder: string, entries: Dirent[]): string[] {
  const names: string[] = [];
  for (const entry of entries) {
    if (entry.isFile()) names.push(entry.name);
    else if (entry.isDirectory() && !(folder === "" && entry.name === reservedFolder)) {
      names.push(`${entry.name}/`);
    }
  }
  return names.sort(compareKeys);
}

/** Reads a folder; one that does not exist, or was removed since it was listed, is empty. */
export async function readFolder(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT" || code === "ENOTDIR") return [];
    throw error;
  }
}

/** Returns undefined if the object was deleted after its folder was read. */
async function infoOf(root: string, key: string): Promise<ObjectInfo | undefined> {
  try {
    const stats = await lstat(join(root, key));
    return { key, sizeBytes: stats.size, modifiedMs: Math.floor(stats.mtimeMs) };
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
