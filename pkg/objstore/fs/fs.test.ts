import { renameSync, unlinkSync } from "node:fs";
import { mkdir, mkdtemp, open, readdir, readFile, rm, symlink, utimes } from "node:fs/promises";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { toSpoorError } from "#pkg/errors/errors.ts";
import { describeObjectStore } from "#pkg/objstore/contract/contract.ts";
import { writePieces } from "./fs-assemble.ts";
import { fsError } from "./fs-errors.ts";
import { readFolder, walkFolder } from "./fs-walk.ts";
import { openFsStore } from "./fs.ts";

let base = "";
let made = 0;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "spoor-fs-"));
});
afterAll(async () => {
  await rm(base, { recursive: true });
});

function freshRoot(): string {
  made++;
  return join(base, `parent ${made}`, "root");
}

describeObjectStore("fs", async () => await openFsStore(freshRoot()));

const content = new Uint8Array([1, 2, 3]);

test("two stores on one folder: objects are shared, one racer wins", async () => {
  const root = freshRoot();
  const stores = await Promise.all(Array.from({ length: 6 }, async () => await openFsStore(root)));
  const won = await Promise.all(
    stores.map(async (store, index) => await store.putIfAbsent("a/b", new Uint8Array([index]))),
  );
  expect(won.filter(Boolean)).toHaveLength(1);
  for (const store of stores)
    expect(await store.get("a/b")).toEqual(Uint8Array.of(won.indexOf(true)));
});

test("writes leave no temporary files, refused ones neither", async () => {
  const root = freshRoot();
  const store = await openFsStore(root);
  await store.put("a/b", content);
  await store.putIfAbsent("a/b", content);
  await store.putIfAbsent("a/c", content);
  for (const key of ["a", "a/b/c"]) {
    const refusal = { code: "InvalidInput", reason: "key_is_folder" };
    await expect(store.put(key, content)).rejects.toMatchObject(refusal);
    await expect(store.putIfAbsent(key, content)).rejects.toMatchObject(refusal);
    await expect(store.assemble(key, [content])).rejects.toMatchObject(refusal);
  }
  await store.assemble("a/d", [content, { key: "a/c", start: 0, end: 3 }]);
  for (const end of [4, 5 * 2 ** 30]) {
    const short = [content, { key: "a/c", start: 0, end }];
    await expect(store.assemble("a/d", short)).rejects.toMatchObject({ code: "Corrupt" });
  }
  expect(await readdir(join(root, ".tmp"))).toEqual([]);
});

test("assemble: a source that is replaced between two of its pieces is detected", async () => {
  const root = freshRoot();
  const store = await openFsStore(root);
  const pieces = [1, 0, 2].map((start) => ({ key: "a/b", start, end: start + 1 }));
  for (const change of ["none", "replaced", "deleted"]) {
    await store.put("a/b", content);
    const other = join(root, "other");
    await writeFile(other, Uint8Array.of(7, 8, 9));
    let met = 0;
    const pathOf = (key: string): string => {
      if (++met === 3 && change === "replaced") renameSync(other, join(root, key));
      if (met === 3 && change === "deleted") unlinkSync(join(root, key));
      return join(root, key);
    };
    const made = join(root, `made-${change}`);
    const file = await open(made, "wx");
    const writing = writePieces(file, { pieces, pathOf, signal: undefined, attempt: "try" });
    if (change === "none") await writing;
    else {
      const reason = "source_changed";
      await expect(writing).rejects.toMatchObject({ code: "Unavailable", reason });
    }
    await file.close();
    const written = change === "none" ? [2, 1, 3] : [2, 1];
    expect([...(await readFile(made))]).toEqual(written);
  }
});

test("open removes temporary files that are over an hour old, and only those", async () => {
  const root = freshRoot();
  await mkdir(join(root, ".tmp"), { recursive: true });
  const nowMs = 1_800_000_000_000;
  for (const [name, ageMs] of [
    ["old", 3_600_001],
    ["young", 3_599_000],
    ["from-the-future", -50_000],
  ] as const) {
    const path = join(root, ".tmp", name);
    await writeFile(path, content);
    await utimes(path, (nowMs - ageMs) / 1000, (nowMs - ageMs) / 1000);
  }
  const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs, sleep: async () => {} };
  const store = await openFsStore(root, { clock });
  expect((await readdir(join(root, ".tmp"))).sort()).toEqual(["from-the-future", "young"]);
  expect(await Array.fromAsync(store.list(""))).toEqual([]);
  expect(await store.listFolders("")).toEqual([]);
});

test("delete removes empty folders up to the root, and keeps the others", async () => {
  const root = freshRoot();
  const store = await openFsStore(root);
  for (const key of ["a/b/c/d", "a/x"]) await store.put(key, content);
  await store.delete("a/b/c/d");
  expect(await readdir(join(root, "a"))).toEqual(["x"]);
  await store.delete("a/x");
  expect(await readdir(root)).toEqual([".tmp"]);
});

test("lists omit empty folders and everything that is not a file", async () => {
  const root = freshRoot();
  const store = await openFsStore(root);
  await mkdir(join(root, "empty", "deeper"), { recursive: true });
  await store.put("full/x", content);
  await symlink("x", join(root, "full", "link"));
  expect((await Array.fromAsync(store.list(""))).map((info) => info.key)).toEqual(["full/x"]);
  expect(await store.listFolders("")).toEqual(["full"]);
});

test("list does not read folders that lie before startAfter", async () => {
  const root = freshRoot();
  const store = await openFsStore(root);
  for (const key of ["2026/01/a", "2026/02/a", "2026/03/a"]) await store.put(key, content);
  const foldersRead: string[] = [];
  const walk = {
    root,
    prefix: "2026/",
    startAfter: "2026/02/a",
    signal: undefined,
    attempt: "test",
    read: async (path: string) => {
      foldersRead.push(path.slice(root.length));
      return await readFolder(path);
    },
  };
  const walked = await Array.fromAsync(walkFolder(walk, "2026/"));
  expect(walked.map((info) => info.key)).toEqual(["2026/03/a"]);
  expect(foldersRead).toEqual(["/2026/", "/2026/02/", "/2026/03/"]);
  // The walk is lazy: a folder that is read late shows objects that were written meanwhile.
  const lazy: string[] = [];
  for await (const info of store.list("2026/")) {
    if (lazy.length === 0) await store.put("2026/03/b", content);
    lazy.push(info.key);
  }
  expect(lazy).toEqual(["2026/01/a", "2026/02/a", "2026/03/a", "2026/03/b"]);
});

test("a root that is not a folder, or has vanished, is refused with a reason", async () => {
  const path = join(base, "file");
  await writeFile(path, content);
  await expect(openFsStore(path)).rejects.toMatchObject({ name: "SpoorError" });
  const root = freshRoot();
  const store = await openFsStore(root);
  await rm(root, { recursive: true });
  await expect(store.put("a/b", content)).rejects.toMatchObject({
    code: "Unavailable",
    reason: "folder_missing",
  });
});

test("errors of the operating system become typed errors", () => {
  const cases = [
    ["ENOSPC", "Unavailable", "disk_full"],
    ["EDQUOT", "Unavailable", "disk_full"],
    ["EACCES", "Unavailable", "access_denied"],
    ["EMFILE", "Unavailable", "too_many_files"],
    ["EIO", "Unavailable", "io_error"],
    ["EFBIG", "TooLarge", "object_too_large"],
    ["EWEIRD", "Internal", "eweird"],
  ];
  for (const [errno, code, reason] of cases) {
    const cause = Object.assign(new Error(errno), { code: errno });
    const error = fsError(cause, "write object k of 3 bytes", "k");
    expect(error).toMatchObject({ code, reason, cause });
    expect(error.message).toBe(`write object k of 3 bytes: ${errno}`);
    expect(fsError(error, "again")).toBe(error);
  }
  expect(fsError(new Error("bug"), "x")).toMatchObject(toSpoorError(new Error("bug")));
});
