import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Clock, systemClock } from "#pkg/clock/clock.ts";
import { CacheEvictor } from "./cache-keeper.ts";
import { cacheStore } from "./cache.ts";
import { describeObjectStore } from "#pkg/objstore/contract/contract.ts";
import { type CountedStore, countStore } from "./count.ts";
import { DiskCache, type DiskCacheOptions } from "./disk-cache.ts";
import { StoreLedger } from "#pkg/objstore/ledger.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";

let base = "";
let made = 0;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "spoor-cache-"));
});
afterAll(async () => {
  await rm(base, { recursive: true });
});

interface Rig {
  store: ObjectStore;
  below: CountedStore;
  disk: DiskCache;
  diskOptions: DiskCacheOptions;
  ledger: StoreLedger;
}

function usedBytes({ used }: DiskCacheOptions): number {
  return Number(new BigInt64Array(used)[0]);
}

async function rigOf(
  over: { memoryBytes?: number; bytesMax?: number; dir?: string } = {},
): Promise<Rig> {
  const dir = over.dir ?? join(base, String(++made));
  const ledger = new StoreLedger();
  const used = new SharedArrayBuffer(8);
  const diskOptions = { dir, bytesMax: over.bytesMax ?? 1e6, used, ledger };
  const disk = new DiskCache(diskOptions);
  const below = countStore(new MemoryStore());
  await below.put("t/blocks/a", bytesOf(5000));
  await below.put("t/log/a", bytesOf(5000));
  const memoryBytes = over.memoryBytes ?? 100_000;
  const isImmutable = (key: string): boolean => key.startsWith("t/blocks/");
  const store = cacheStore(below, { isImmutable, memoryBytes, disk, ledger });
  return { store, below, disk, diskOptions, ledger };
}

function bytesOf(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i * 7) % 251);
}

/** Returns all files of the cache, including unfinished ones. */
async function filesOf(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
}

describeObjectStore("cache", async () => {
  const { disk, ledger } = await rigOf();
  return cacheStore(new MemoryStore(), {
    isImmutable: (key) => key.startsWith("never"),
    memoryBytes: 1e6,
    disk,
    ledger,
  });
});

test("a range is requested once, then memory has it, then the disk; callers own their bytes", async () => {
  const { store, below, disk, diskOptions, ledger } = await rigOf();
  const first = await store.getRange("t/blocks/a", 10, 20);
  first.fill(0);
  const second = await store.getRange("t/blocks/a", 10, 20);
  expect(second).toEqual(bytesOf(5000).slice(10, 20));
  second.fill(0);
  expect(await store.getRange("t/blocks/a", 10, 20)).toEqual(bytesOf(5000).slice(10, 20));
  expect(below.counts.getRange.requests).toBe(1);
  expect([ledger.events("memoryHit"), ledger.events("miss")]).toEqual([2, 1]);
  await disk.idle();
  // A later process with an empty memory cache.
  const isImmutable = (): boolean => true;
  const again = cacheStore(below, {
    isImmutable,
    memoryBytes: 0,
    disk: new DiskCache(diskOptions),
    ledger,
  });
  expect(await again.getRange("t/blocks/a", 10, 20)).toEqual(bytesOf(5000).slice(10, 20));
  expect(await again.getRange("t/blocks/a", 10, 21)).toHaveLength(11);
  expect(below.counts.getRange.requests).toBe(2);
  expect(ledger.events("diskHit")).toBe(1);
});

test("callers own their bytes even if the store below returns Buffers", async () => {
  const { below, disk, ledger } = await rigOf();
  const buffers = new Proxy(below, {
    get: (target, name) =>
      name === "getRange"
        ? async (key: string, start: number, end: number) =>
            Buffer.from(await target.getRange(key, start, end))
        : Reflect.get(target, name),
  });
  const isImmutable = (): boolean => true;
  const store = cacheStore(buffers, { isImmutable, memoryBytes: 1e5, disk, ledger });
  for (let time = 0; time < 3; time++) {
    const read = await store.getRange("t/blocks/a", 10, 20);
    expect(new Uint8Array(read)).toEqual(bytesOf(5000).slice(10, 20));
    read.fill(0);
  }
  expect(ledger.events("memoryHit")).toBe(2);
});

test("objects that may change, and errors, are never cached", async () => {
  const { store, below } = await rigOf();
  for (let i = 0; i < 2; i++) {
    await store.getRange("t/log/a", 0, 5);
    await expect(store.getRange("t/blocks/a", 4999, 5001)).rejects.toMatchObject({
      code: "Corrupt",
    });
    await expect(store.getRange("t/blocks/b", 0, 1)).rejects.toMatchObject({ code: "NotFound" });
  }
  expect(below.counts.getRange.requests).toBe(6);
});

test("memory stays within its bound, and evicts the least recently used range", async () => {
  const { below, ledger } = await rigOf();
  const store = cacheStore(below, {
    isImmutable: () => true,
    memoryBytes: 3 * 1250,
    disk: undefined,
    ledger,
  });
  const read = async (i: number): Promise<unknown> =>
    await store.getRange("t/blocks/a", i * 1000, (i + 1) * 1000);
  for (const i of [0, 1, 2, 0, 3]) await read(i);
  expect(below.counts.getRange.requests).toBe(4);
  await read(0);
  expect(below.counts.getRange.requests).toBe(4);
  await read(1);
  expect(below.counts.getRange.requests).toBe(5);
});

test("a file that is torn or damaged at any byte, or holds another id, is fetched again", async () => {
  const { store, below, disk, diskOptions, ledger } = await rigOf({ memoryBytes: 0 });
  await store.getRange("t/blocks/a", 0, 40);
  await disk.idle();
  const [path] = await filesOf(diskOptions.dir);
  const whole = await readFile(path);
  let expected = 1;
  const damages = [
    ...Array.from({ length: whole.length }, (_, end) => whole.subarray(0, end)),
    ...Array.from({ length: whole.length }, (_, at) => {
      const copy = Buffer.from(whole);
      copy[at] ^= 4;
      return copy;
    }),
    Buffer.concat([whole, Buffer.from([0])]),
  ];
  for (const damaged of damages) {
    await writeFile(path, damaged);
    expect(await store.getRange("t/blocks/a", 0, 40)).toEqual(bytesOf(5000).slice(0, 40));
    await disk.idle();
    expected++;
  }
  expect(below.counts.getRange.requests).toBe(expected);
  expect(ledger.events("diskCorrupt")).toBe(damages.length);
  expect(await readFile(path)).toEqual(whole);
});

test("a range that a reader found damaged is read from the bucket again, and replaced", async () => {
  const { store, below, disk, diskOptions, ledger } = await rigOf();
  await store.getRange("t/blocks/a", 0, 10);
  await disk.idle();
  await below.put("t/blocks/a", new Uint8Array(5000));
  expect((await store.getRange("t/blocks/a", 0, 10))[1]).toBe(7);
  expect((await store.getRange("t/blocks/a", 0, 10, { isFresh: true }))[1]).toBe(0);
  expect((await store.getRange("t/blocks/a", 0, 10))[1]).toBe(0);
  await disk.idle();
  const other = new DiskCache({ ...diskOptions, ledger });
  expect(await other.read("t/blocks/a@0-10")).toEqual(new Uint8Array(10));
});

test("a full disk cache adds nothing until the evictor has swept; used files stay", async () => {
  const { disk, diskOptions, ledger } = await rigOf({ bytesMax: 20_000 });
  // It sweeps only when the test calls it, however long the writes take.
  const sleep: Clock["sleep"] = (_ms, signal) => systemClock.sleep(2 ** 30, signal);
  const evictor = new CacheEvictor({ ...diskOptions, clock: { ...systemClock, sleep } });
  await evictor.start();
  const ids = Array.from({ length: 30 }, (_, i) => `k@${i}`);
  for (const id of ids) {
    disk.write(id, bytesOf(1000));
    await disk.idle();
  }
  expect(ledger.events("diskFull")).toBe(11);
  expect(usedBytes(diskOptions)).toBeLessThanOrEqual(20_000);
  // The first five were used recently, the next five long ago.
  for (const id of ids.slice(0, 5)) expect(await disk.read(id)).toBeDefined();
  const files = await filesOf(diskOptions.dir);
  expect(files).toHaveLength(19);
  await evictor.sweep();
  const left = await filesOf(diskOptions.dir);
  expect(left).toHaveLength(14);
  for (const id of ids.slice(0, 5)) expect(await disk.read(id), id).toBeDefined();
  let total = 0;
  for (const path of left) total += (await stat(path)).size;
  expect(usedBytes(diskOptions)).toBe(total);
  disk.write("new", bytesOf(1000));
  await disk.idle();
  expect(await disk.read("new")).toEqual(bytesOf(1000));
  await evictor.stop();
});

test("a frequently used range outlives a recently used one", async () => {
  const { disk, diskOptions } = await rigOf({ bytesMax: 3200 });
  disk.write("often", bytesOf(1000));
  await disk.idle();
  for (let i = 0; i < 3; i++) await disk.read("often");
  for (const id of ["b", "c"]) {
    disk.write(id, bytesOf(1000));
    await disk.idle();
  }
  await disk.read("c");
  const evictor = new CacheEvictor({ ...diskOptions, clock: systemClock });
  await evictor.sweep();
  expect(await disk.read("often")).toBeDefined();
  expect(await disk.read("b")).toBeUndefined();
});

test("a start counts the existing files and removes unfinished ones", async () => {
  const first = await rigOf();
  for (const id of ["a", "b"]) first.disk.write(id, bytesOf(500));
  await first.disk.idle();
  const [path] = await filesOf(first.diskOptions.dir);
  const unfinished = join(path, "..", "left.tmp");
  await writeFile(unfinished, "x");
  const young = join(path, "..", "young.tmp");
  await writeFile(young, "x");
  const oldS = Date.now() / 1000 - 7200;
  await utimes(unfinished, oldS, oldS);
  const second = await rigOf({ dir: first.diskOptions.dir });
  const evictor = new CacheEvictor({ ...second.diskOptions, clock: systemClock });
  await evictor.start();
  expect(usedBytes(second.diskOptions)).toBe(usedBytes(first.diskOptions));
  const names = await filesOf(first.diskOptions.dir);
  expect(names.filter((name) => name.endsWith(".tmp"))).toEqual([young]);
  await evictor.stop();
});

test("an unusable folder is refused at the start, and later disk failures are counted", async () => {
  const file = join(base, "file");
  await writeFile(file, "x");
  const { diskOptions, ledger, below } = await rigOf({ dir: join(file, "cache") });
  const evictor = new CacheEvictor({ ...diskOptions, clock: systemClock });
  await expect(evictor.start()).rejects.toMatchObject({ reason: "cache_folder" });
  const disk = new DiskCache(diskOptions);
  const store = cacheStore(below, { isImmutable: () => true, memoryBytes: 0, disk, ledger });
  for (let i = 0; i < 2; i++) {
    expect(await store.getRange("t/blocks/a", 0, 5)).toHaveLength(5);
    await disk.idle();
  }
  expect(ledger.events("diskFailure")).toBeGreaterThanOrEqual(2);
  expect(usedBytes(diskOptions)).toBe(0);
});
