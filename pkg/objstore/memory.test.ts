import { expect, test } from "vitest";
import { describeObjectStore } from "#pkg/objstore/contract/contract.ts";
import { MemoryStore } from "./memory.ts";

describeObjectStore("memory", async () => new MemoryStore());

test("a full memory store refuses writes like a full disk, and a delete frees space", async () => {
  const store = new MemoryStore({ bytesMax: 10 });
  await store.put("a", new Uint8Array(6));
  await expect(store.put("b", new Uint8Array(5))).rejects.toMatchObject({
    code: "Unavailable",
    reason: "disk_full",
  });
  await store.put("a", new Uint8Array(10));
  await expect(store.putIfAbsent("b", new Uint8Array(1))).rejects.toMatchObject({
    reason: "disk_full",
  });
  await store.delete("a");
  expect(await store.putIfAbsent("b", new Uint8Array(10))).toBe(true);
});

test("a key below an object, or above one, is refused as on a disk", async () => {
  const store = new MemoryStore();
  await store.put("a/b", new Uint8Array(1));
  for (const key of ["a", "a/b/c", "a/b/c/d"]) {
    const refusal = { code: "InvalidInput", reason: "key_is_folder" };
    await expect(store.put(key, new Uint8Array(1))).rejects.toMatchObject(refusal);
    await expect(store.putIfAbsent(key, new Uint8Array(1))).rejects.toMatchObject(refusal);
  }
  await store.put("a-", new Uint8Array(1));
});
