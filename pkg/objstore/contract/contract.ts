/** The contract of ObjectStore as tests; every implementation runs `describeObjectStore`. */
import { describe, expect, test } from "vitest";
import { describeAssembly } from "./contract-assemble.ts";
import { describeLists } from "./contract-lists.ts";
import { bytesOf, expectCode, keysOf, listOf, type MakeStore } from "./contract-tools.ts";
import { patternOf, textOf, turnOfLoop } from "./contract-tools.ts";

export function describeObjectStore(name: string, makeStore: MakeStore): void {
  describe(`object store contract: ${name}`, () => {
    describeOwners(makeStore);
    describeReads(makeStore);
    describeWrites(makeStore);
    describeRaces(makeStore);
    describeLists(makeStore);
    describeAssembly(makeStore);
    describeRefusals(makeStore);
    describeAborts(makeStore);
  });
}

function describeOwners(makeStore: MakeStore): void {
  test("the store copies Buffers, whose slices are views", async () => {
    const store = await makeStore();
    const written = Buffer.from("hello");
    await store.put("put", written);
    await store.putIfAbsent("created", written);
    written.fill(0);
    for (const key of ["put", "created"]) {
      (await store.get(key)).fill(0);
      (await store.getRange(key, 1, 3)).fill(0);
      expect(textOf(await store.getRange(key, 1, 3))).toBe("el");
      expect(textOf(await store.get(key))).toBe("hello");
    }
  });
}

function describeReads(makeStore: MakeStore): void {
  test("get returns what put wrote, and the caller owns both", async () => {
    const store = await makeStore();
    const written = bytesOf("hello");
    await store.put("a/b/c", written);
    written[0] = 0;
    const read = await store.get("a/b/c");
    expect(textOf(read)).toBe("hello");
    read[0] = 0;
    expect(textOf(await store.get("a/b/c"))).toBe("hello");
  });

  test("an empty object is an object", async () => {
    const store = await makeStore();
    await store.put("empty", new Uint8Array(0));
    expect(await store.get("empty")).toHaveLength(0);
    expect((await store.head("empty")).sizeBytes).toBe(0);
    expect(await keysOf(store, "")).toEqual(["empty"]);
    await expectCode(store.getRange("empty", 0, 1), "Corrupt");
  });

  test("getRange reads exactly the range, or says Corrupt", async () => {
    const store = await makeStore();
    await store.put("k", bytesOf("0123456789"));
    expect(textOf(await store.getRange("k", 0, 10))).toBe("0123456789");
    expect(textOf(await store.getRange("k", 3, 4))).toBe("3");
    expect(textOf(await store.getRange("k", 9, 10))).toBe("9");
    await expectCode(store.getRange("k", 9, 11), "Corrupt");
    await expectCode(store.getRange("k", 10, 11), "Corrupt");
    await expectCode(store.getRange("k", 1000, 2000), "Corrupt");
    for (const [start, end] of [
      [0, 0],
      [-1, 1],
      [5, 4],
      [0.5, 2],
      [0, Number.NaN],
      [0, Infinity],
      [0, 2 ** 40],
    ]) {
      await expectCode(store.getRange("k", start, end), "InvalidInput");
    }
  });

  test("reads of a missing object throw NotFound, and a folder is not an object", async () => {
    const store = await makeStore();
    await store.put("a/b", bytesOf("x"));
    for (const key of ["missing", "missing/deeper", "a", "a/b/c"]) {
      await expectCode(store.get(key), "NotFound");
      await expectCode(store.getRange(key, 0, 1), "NotFound");
      await expectCode(store.head(key), "NotFound");
    }
  });

  test("head returns key, size and time", async () => {
    const store = await makeStore();
    await store.put("a/b", bytesOf("four"));
    const info = await store.head("a/b");
    expect(info).toEqual({ key: "a/b", sizeBytes: 4, modifiedMs: expect.any(Number) });
    expect(Number.isSafeInteger(info.modifiedMs)).toBe(true);
    expect(await listOf(store, "")).toEqual([info]);
  });
}

function describeWrites(makeStore: MakeStore): void {
  test("put replaces, with longer and with shorter bytes", async () => {
    const store = await makeStore();
    for (const text of ["first", "a longer second", "3"]) {
      await store.put("k", bytesOf(text));
      expect(textOf(await store.get("k"))).toBe(text);
    }
    expect(await keysOf(store, "")).toEqual(["k"]);
  });

  test("getRange returns the bytes, in the caller's buffer or in another", async () => {
    const store = await makeStore();
    await store.put("k", bytesOf("0123456789"));
    for (const room of [0, 3, 4, 5, 100]) {
      const into = new Uint8Array(room).fill(0xff);
      const bytes = await store.getRange("k", 2, 6, { into });
      expect(textOf(bytes)).toBe("2345");
      // No cache keeps the caller's buffer.
      into.fill(0xee);
      expect(textOf(await store.getRange("k", 2, 6))).toBe("2345");
      await expectCode(store.getRange("k", 9, 11, { into }), "Corrupt");
    }
  });

  test("a large object is returned whole, can be replaced, and is read in ranges", async () => {
    const store = await makeStore();
    for (const sizeBytes of [11 * 1024 * 1024 + 7, 5 * 1024 * 1024 + 1]) {
      const bytes = patternOf(sizeBytes);
      await store.put("large/a", bytes);
      expect((await store.head("large/a")).sizeBytes).toBe(sizeBytes);
      expect(Buffer.compare(await store.get("large/a"), bytes)).toBe(0);
      const [start, end] = [5 * 1024 * 1024 - 3, 5 * 1024 * 1024 + 1];
      const range = await store.getRange("large/a", start, end);
      expect(Buffer.compare(range, bytes.subarray(start, end))).toBe(0);
    }
    expect(await keysOf(store, "")).toEqual(["large/a"]);
    const commit = patternOf(7 * 1024 * 1024);
    expect(await store.putIfAbsent("large/b", commit)).toBe(true);
    expect(await store.putIfAbsent("large/b", commit)).toBe(false);
    expect(Buffer.compare(await store.get("large/b"), commit)).toBe(0);
  });

  test("a reader beside writers sees one whole object or another", async () => {
    const store = await makeStore();
    const sizes = [70_000, 130_000, 1];
    const contents = sizes.map((size, index) => new Uint8Array(size).fill(index + 1));
    await store.put("k", contents[0]);
    const writes = contents.flatMap((bytes) => [store.put("k", bytes), store.put("k", bytes)]);
    for (let round = 0; round < 20; round++) {
      const read = await store.get("k");
      expect(read).toHaveLength(sizes[read[0] - 1]);
      expect(read.every((byte) => byte === read[0])).toBe(true);
    }
    await Promise.all(writes);
  });
}

function describeRaces(makeStore: MakeStore): void {
  test("putIfAbsent: one of ten racers wins, and its bytes stay", async () => {
    const store = await makeStore();
    for (let round = 0; round < 10; round++) {
      const key = `log/${round}.json`;
      const racers = Array.from({ length: 10 }, (_, index) => `racer ${index} of ${round}`);
      const won = await Promise.all(
        racers.map(async (text) => await store.putIfAbsent(key, bytesOf(text))),
      );
      expect(won.filter(Boolean)).toHaveLength(1);
      expect(textOf(await store.get(key))).toBe(racers[won.indexOf(true)]);
      expect(await store.putIfAbsent(key, bytesOf("late"))).toBe(false);
    }
    expect(await keysOf(store, "log/")).toHaveLength(10);
  });

  test("putIfAbsent: put counts as taken, delete frees", async () => {
    const store = await makeStore();
    await store.put("k", bytesOf("put"));
    expect(await store.putIfAbsent("k", bytesOf("x"))).toBe(false);
    expect(textOf(await store.get("k"))).toBe("put");
    await store.delete("k");
    expect(await store.putIfAbsent("k", new Uint8Array(0))).toBe(true);
    expect(await store.putIfAbsent("k", bytesOf("x"))).toBe(false);
  });

  test("delete is idempotent and takes only its key", async () => {
    const store = await makeStore();
    for (const key of ["a/b/c", "a/b/d", "a-b"]) await store.put(key, bytesOf(key));
    for (const key of ["a/b/c", "a/b/c", "never", "never/was", "a", "a/b", "a-b/c"]) {
      await store.delete(key);
    }
    expect(await keysOf(store, "")).toEqual(["a-b", "a/b/d"]);
    await store.delete("a/b/d");
    await store.put("a/b", bytesOf("a folder's name is free when the folder is empty"));
    expect(await keysOf(store, "a/")).toEqual(["a/b"]);
  });

  test("writes and deletes that race for one folder all succeed", async () => {
    const store = await makeStore();
    const churn = Array.from({ length: 8 }, async (_, index) => {
      for (let round = 0; round < 25; round++) {
        const key = `deep/er/folder/${index}`;
        if (index % 2 === 0) await store.put(key, bytesOf("x"));
        else expect(await store.putIfAbsent(key, bytesOf("x"))).toBe(true);
        if (round < 24) await store.delete(key);
      }
    });
    await Promise.all(churn);
    expect(await keysOf(store, "deep/")).toHaveLength(8);
  });
}

function describeRefusals(makeStore: MakeStore): void {
  test("keys that could leave the store or that another store cannot hold", async () => {
    const store = await makeStore();
    const long = "x".repeat(256);
    const deep = `${"x/".repeat(512)}x`;
    const bad = ["", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "a\0b", "\ud800"];
    for (const key of [...bad, long, `a/${"é".repeat(128)}`, deep, ".tmp/x", ".tmp"]) {
      await expectCode(store.put(key, bytesOf("x")), "InvalidInput");
      await expectCode(store.putIfAbsent(key, bytesOf("x")), "InvalidInput");
      await expectCode(store.assemble(key, [bytesOf("x")]), "InvalidInput");
      await expectCode(store.assemble("k", [{ key, start: 0, end: 1 }]), "InvalidInput");
      await expectCode(store.get(key), "InvalidInput");
      await expectCode(store.getRange(key, 0, 1), "InvalidInput");
      await expectCode(store.head(key), "InvalidInput");
      await expectCode(store.delete(key), "InvalidInput");
    }
    for (const prefix of ["/", "a//", "../", "./", "a/../", "a\0", "\udc00"]) {
      await expectCode(keysOf(store, prefix), "InvalidInput");
      await expectCode(store.listFolders(prefix), "InvalidInput");
    }
    expect(await keysOf(store, "")).toEqual([]);
  });

  test("the longest allowed keys work", async () => {
    const store = await makeStore();
    const keys = ["x".repeat(255), `${"y/".repeat(511)}yy`, "é".repeat(127)];
    for (const key of keys) await store.put(key, bytesOf(key));
    expect(await keysOf(store, "")).toEqual(keys);
    for (const key of keys) expect(textOf(await store.get(key))).toBe(key);
  });
}

function describeAborts(makeStore: MakeStore): void {
  test("an aborted signal stops every call before its effect", async () => {
    const store = await makeStore();
    await store.put("k", bytesOf("old"));
    const signal = AbortSignal.abort();
    await expectCode(store.put("k", bytesOf("new"), { signal }), "Canceled");
    await expectCode(store.putIfAbsent("free", bytesOf("new"), { signal }), "Canceled");
    const pieces = [bytesOf("new"), { key: "k", start: 0, end: 1 }];
    await expectCode(store.assemble("k", pieces, { signal }), "Canceled");
    await expectCode(store.assemble("free", [], { signal }), "Canceled");
    await expectCode(store.get("k", { signal }), "Canceled");
    await expectCode(store.getRange("k", 0, 1, { signal }), "Canceled");
    await expectCode(store.head("k", { signal }), "Canceled");
    await expectCode(store.delete("k", { signal }), "Canceled");
    await expectCode(store.listFolders("", { signal }), "Canceled");
    await expectCode(keysOf(store, "", { signal }), "Canceled");
    expect(await keysOf(store, "")).toEqual(["k"]);
    expect(textOf(await store.get("k"))).toBe("old");
    const late = AbortSignal.abort(new DOMException("too late", "TimeoutError"));
    await expectCode(store.get("k", { signal: late }), "Timeout");
  });

  test("aborted reads end, and cause no later error", async () => {
    const store = await makeStore();
    const bytes = new Uint8Array(2 * 1024 * 1024).fill(7);
    await store.put("k", bytes);
    for (const turns of [0, 1, 2, 3, 5, 8, 13, 21, 34]) {
      const abort = new AbortController();
      const { signal } = abort;
      const reads = [store.get("k", { signal }), store.getRange("k", 1, bytes.length, { signal })];
      const results = Promise.allSettled(reads);
      for (let turn = 0; turn < turns; turn++) await turnOfLoop();
      abort.abort();
      for (const [i, result] of (await results).entries()) {
        if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "Canceled" });
        else expect(Buffer.compare(result.value, bytes.subarray(i))).toBe(0);
      }
    }
    expect(textOf((await store.get("k")).subarray(0, 2))).toBe("\u0007\u0007");
  });

  test("a signal that aborts during a list stops it", async () => {
    const store = await makeStore();
    for (const key of ["a", "b", "c"]) await store.put(key, bytesOf(key));
    const abort = new AbortController();
    const seen: string[] = [];
    const walk = async (): Promise<void> => {
      for await (const info of store.list("", { signal: abort.signal })) {
        seen.push(info.key);
        if (info.key === "b") abort.abort();
      }
    };
    await expectCode(walk(), "Canceled");
    expect(seen).toEqual(["a", "b"]);
  });
}
