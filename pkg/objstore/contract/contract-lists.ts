/** Contract tests of lists. */
import { expect, test } from "vitest";
import { bytesOf, expectCode, keysOf, type MakeStore, textOf } from "./contract-tools.ts";
import { compareKeys } from "#pkg/objstore/keys.ts";

export function describeLists(makeStore: MakeStore): void {
  describeOrder(makeStore);
  describePages(makeStore);
  describeFolders(makeStore);
}

/** Keys whose UTF-8 order differs from UTF-16 or locale order, and keys that sort near a slash. */
const oddKeys = [
  "a",
  "a b",
  "a-b",
  "a.json",
  "a0/x",
  "ab",
  "B",
  "dir!/x",
  "dir/!",
  "dir/sub/z",
  "dir/sub-1/z",
  "dir/sub0",
  "dir0",
  "%41",
  "back\\slash",
  "new\nline",
  "quote\"'",
  "...",
  ".hidden",
  "-dash",
  "e\u0301",
  "\u00e9",
  "\uffee",
  "\u{1f600}",
  "\u{1f600}-/x",
  "\ue000",
  "\ud7ff",
];

function describeOrder(makeStore: MakeStore): void {
  test("list yields keys in UTF-8 byte order, whatever characters they contain", async () => {
    const store = await makeStore();
    for (const key of oddKeys) await store.put(key, bytesOf(key));
    const sorted = [...oddKeys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(await keysOf(store, "")).toEqual(sorted);
    for (const key of oddKeys) expect(textOf(await store.get(key))).toBe(key);
    const cursors = [...sorted, "", "dir/", "dir", "dir/sub/", "e", "\u{10ffff}", "dir/sub/zz"];
    cursors.push(".", "..", "dir/.", "dir/..");
    for (const startAfter of cursors) {
      const expected = sorted.filter((key) => compareKeys(key, startAfter) > 0);
      expect(await keysOf(store, "", { startAfter }), startAfter).toEqual(expected);
    }
    for (const prefix of [
      "a",
      "dir",
      "dir/",
      "dir/s",
      "dir/sub/",
      "\u{1f600}",
      "zzz",
      ".",
      "..",
      "dir/.",
    ]) {
      const expected = sorted.filter((key) => key.startsWith(prefix));
      expect(await keysOf(store, prefix), prefix).toEqual(expected);
    }
    expect(await keysOf(store, "dir/", { startAfter: "dir/sub-1/z" })).toEqual([
      "dir/sub/z",
      "dir/sub0",
    ]);
  });

  test("list of 1,000 objects is complete, and its consumer can stop early", async () => {
    const store = await makeStore();
    const keys = Array.from(
      { length: 1000 },
      (_, index) => `log/${String(index).padStart(4, "0")}`,
    );
    for (let start = 0; start < keys.length; start += 50) {
      const some = keys.slice(start, start + 50);
      await Promise.all(some.map(async (key) => await store.put(key, bytesOf(key))));
    }
    expect(await keysOf(store, "log/")).toEqual(keys);
    expect(await keysOf(store, "log/", { startAfter: keys[997] })).toEqual(keys.slice(998));
    for await (const info of store.list("")) {
      expect(info.key).toBe(keys[0]);
      break;
    }
  });
}

function describePages(makeStore: MakeStore): void {
  test("lists of several pages, and deleteMany of several requests", async () => {
    const store = await makeStore();
    const keys = Array.from(
      { length: 1205 },
      (_, index) => `pages/${String(index).padStart(4, "0")}/x`,
    );
    for (let start = 0; start < keys.length; start += 50) {
      const some = keys.slice(start, start + 50);
      await Promise.all(some.map(async (key) => await store.put(key, bytesOf("x"))));
    }
    expect(await keysOf(store, "pages/")).toEqual(keys);
    expect(await store.listFolders("pages/")).toHaveLength(keys.length);
    await store.deleteMany([...keys.slice(0, 1200), "pages/never", keys[0]]);
    expect(await keysOf(store, "")).toEqual(keys.slice(1200));
    await store.deleteMany([]);
    await expectCode(store.deleteMany([keys[1200], "../x"]), "InvalidInput");
    const signal = AbortSignal.abort();
    await expectCode(store.deleteMany([keys[1200]], { signal }), "Canceled");
    expect(await keysOf(store, "")).toEqual(keys.slice(1200));
  });
}

function describeFolders(makeStore: MakeStore): void {
  test("list of an empty store is empty, and deleted objects are gone", async () => {
    const store = await makeStore();
    expect(await keysOf(store, "")).toEqual([]);
    expect(await keysOf(store, "no/such/")).toEqual([]);
    await store.put("a/b", bytesOf("x"));
    await store.delete("a/b");
    expect(await keysOf(store, "")).toEqual([]);
    expect(await store.listFolders("")).toEqual([]);
  });

  test("listFolders names the folders directly below", async () => {
    const store = await makeStore();
    for (const key of ["t1/x/1", "t1/y", "t0/x", "t/x", "file", "\u{1f600}/x", "\uffee/x"]) {
      await store.put(key, bytesOf("x"));
    }
    expect(await store.listFolders("")).toEqual(["t", "t0", "t1", "\uffee", "\u{1f600}"]);
    expect(await store.listFolders("t1/")).toEqual(["x"]);
    expect(await store.listFolders("t/")).toEqual([]);
    expect(await store.listFolders("none/")).toEqual([]);
    await expectCode(store.listFolders("t1"), "InvalidInput");
  });
}
