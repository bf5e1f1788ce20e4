import { mkdtemp, readdir, readlink, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cacheStore } from "#pkg/objstore/wrap/cache.ts";
import { coalesceStore } from "#pkg/objstore/wrap/coalesce.ts";
import { FileHandles, type OpenFile } from "./fs-handles.ts";
import { openFsStore } from "./fs.ts";
import { hedgeStore } from "#pkg/objstore/wrap/hedge.ts";
import { StoreLedger } from "#pkg/objstore/ledger.ts";
import { timeoutStore } from "#pkg/objstore/wrap/timeout.ts";

let base = "";
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "spoor-handles-"));
});
afterAll(async () => {
  await rm(base, { recursive: true });
});

async function textOf({ file, sizeBytes }: OpenFile): Promise<string> {
  const bytes = Buffer.alloc(sizeBytes);
  const { bytesRead } = await file.read(bytes, 0, sizeBytes, 0);
  return bytes.toString("utf8", 0, bytesRead);
}

/** Moves a new file to the path, as a store does. */
async function replace(path: string, text: string): Promise<void> {
  await writeFile(`${path}.tmp`, text);
  await rename(`${path}.tmp`, path);
}

/** Returns the files below the folder that this process has open, including deleted ones. */
async function openBelow(folder: string): Promise<string[]> {
  const names = await readdir("/proc/self/fd");
  const links = await Promise.all(
    names.map(async (name) => await readlink(`/proc/self/fd/${name}`).catch(() => "")),
  );
  return links.filter((link) => link.startsWith(folder));
}

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await isTrue()); tries++) {
    if (tries > 500) throw new Error("waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("a path that went to another file is opened again, and the old file is closed", async () => {
  const handles = new FileHandles();
  const path = join(base, "replaced");
  for (const text of ["one", "two", "three", "a longer text", ""]) {
    await replace(path, text);
    expect(await handles.withFile(path, textOf)).toBe(text);
    expect(await handles.withFile(path, textOf)).toBe(text);
    expect(await openBelow(path)).toEqual([path]);
  }
  await rm(path);
  await expect(handles.withFile(path, textOf)).rejects.toMatchObject({ code: "ENOENT" });
  expect(handles.paths).toEqual([]);
  expect(await openBelow(path)).toEqual([]);
});

test("readers beside a writer see whole files, in the order of writing", async () => {
  const handles = new FileHandles({ filesMax: 2 });
  const path = join(base, "raced");
  const textOfRound = (round: number): string => `${round}:`.padEnd(20 + (round % 7), "x");
  await replace(path, textOfRound(0));
  const writer = { round: 0, isDone: false };
  const reader = async (): Promise<number> => {
    let reads = 0;
    for (let last = 0; !writer.isDone; reads++) {
      const atLeast = writer.round;
      const text = await handles.withFile(path, textOf);
      const round = Number(text.split(":")[0]);
      expect(text).toBe(textOfRound(round));
      expect(round).toBeGreaterThanOrEqual(Math.max(last, atLeast));
      last = round;
    }
    return reads;
  };
  const readers = [reader(), reader(), reader(), reader()];
  for (let round = 1; round <= 300; round++) {
    await replace(path, textOfRound(round));
    writer.round = round;
    if (round % 10 === 0) await handles.drop(path);
  }
  writer.isDone = true;
  for (const reads of await Promise.all(readers)) expect(reads).toBeGreaterThan(0);
  await handles.drop(path);
  expect(await openBelow(path)).toEqual([]);
});

test("a file that is in use stays open, whatever happens to its name", async () => {
  const handles = new FileHandles();
  const path = join(base, "in-use");
  await replace(path, "old");
  const { promise: gate, resolve: openGate } = Promise.withResolvers<void>();
  const slow = async (file: OpenFile): Promise<string> => {
    await gate;
    return await textOf(file);
  };
  const first = handles.withFile(path, slow);
  await until(() => handles.paths.length === 1);
  await handles.drop(path);
  await replace(path, "new");
  expect(await handles.withFile(path, textOf)).toBe("new");
  openGate();
  expect(await first).toBe("old");
  expect(await openBelow(path)).toEqual([path]);
  // An error of the reader is thrown, and leaves the file open.
  const fail = handles.withFile(path, async () => await Promise.reject(new Error("mine")));
  await expect(fail).rejects.toThrow("mine");
  expect(handles.paths).toEqual([path]);
  await handles.drop(path);
  expect(await openBelow(path)).toEqual([]);
});

test("keeps the most recently used files open, and closes idle ones", async () => {
  const paths = ["a", "b", "c", "d"].map((name) => join(base, name));
  for (const path of paths) await writeFile(path, path);
  const [a, b, c, d] = paths;
  // No idle check runs in between, however long these reads take.
  const kept = new FileHandles({ filesMax: 3, idleCheckEveryMs: 3_600_000 });
  for (const path of [a, b, c, a, d]) expect(await kept.withFile(path, textOf)).toBe(path);
  expect(kept.paths).toEqual([c, a, d]);
  expect((await openBelow(base)).sort()).toEqual([a, c, d]);
  for (const path of kept.paths) await kept.drop(path);
  const handles = new FileHandles({ filesMax: 3, idleCheckEveryMs: 20 });
  for (const path of [a, b, c, a, d]) expect(await handles.withFile(path, textOf)).toBe(path);
  await until(() => handles.paths.length === 0);
  await until(async () => (await openBelow(base)).length === 0);
  // The cache can be used again.
  expect(await handles.withFile(b, textOf)).toBe(b);
  await until(async () => (await openBelow(base)).length === 0);
});

test("a store holds no file that it has replaced or deleted", async () => {
  const root = join(base, "root");
  const store = await openFsStore(root);
  const other = await openFsStore(root);
  const bytes = Buffer.from("0123456789");
  for (const key of ["x/a", "x/b"]) await store.put(key, bytes);
  for (const key of ["x/a", "x/b"]) expect(await store.getRange(key, 2, 4)).toHaveLength(2);
  await store.put("x/a", Buffer.from("abcdefg"));
  await store.delete("x/b");
  expect(await openBelow(join(root, "x"))).toEqual([]);
  expect(Buffer.from(await store.getRange("x/a", 2, 4)).toString()).toBe("cd");
  // A change by another store is visible at once.
  await other.put("x/a", bytes);
  expect(Buffer.from(await store.getRange("x/a", 2, 10)).toString()).toBe("23456789");
  await other.delete("x/a");
  await expect(store.getRange("x/a", 2, 4)).rejects.toMatchObject({ code: "NotFound" });
  expect(await openBelow(join(root, "x"))).toEqual([]);
});

test("a range fills the caller's buffer, except behind wrappers that may return early", async () => {
  const below = await openFsStore(join(base, "room"));
  await below.put("t/blocks/a", Buffer.from("0123456789"));
  const into = new Uint8Array(16);
  const bytes = await below.getRange("t/blocks/a", 2, 6, { into });
  expect(bytes.buffer).toBe(into.buffer);
  expect((await below.getRange("t/blocks/a", 2, 6)).buffer).not.toBe(into.buffer);
  const ledger = new StoreLedger();
  const early = [
    timeoutStore(below, { timeoutMs: 60_000, bytesPerSecondMin: 1000, ledger }),
    hedgeStore(below, { share: 1, delayMinMs: 1, ledger }),
    coalesceStore(below, { gapBytes: 0, requestBytesMax: 1000, ledger }),
  ];
  for (const store of early) {
    const found = await store.getRange("t/blocks/a", 2, 6, { into });
    expect(Buffer.from(found).toString()).toBe("2345");
    expect(found.buffer).not.toBe(into.buffer);
  }
  const options = { isImmutable: () => true, memoryBytes: 1e6, disk: undefined, ledger };
  const cache = cacheStore(below, options);
  for (let i = 0; i < 3; i++) {
    const found = await cache.getRange("t/blocks/a", 2, 6, { into });
    expect(Buffer.from(found).toString()).toBe("2345");
    into.fill(0xff);
  }
});
