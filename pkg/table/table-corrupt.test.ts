/** Logs that cannot be read are refused, naming the key. */
import { expect, test } from "vitest";
import { countStore } from "#pkg/objstore/wrap/count.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import { commitKey } from "./history.ts";
import { addOf, putText, tableOf, textAt, thrownBy } from "./table.testing.ts";

async function started(): Promise<MemoryStore> {
  const store = new MemoryStore();
  const table = tableOf(store);
  for (const name of ["a", "b", "c"]) await table.commit(addOf(name));
  return store;
}

test("a broken commit is an error, and a reader keeps its snapshot", async () => {
  const store = await started();
  const reader = tableOf(store);
  const known = await reader.refresh();
  await putText(store, 3, '{"add":{}}\n');
  const error = await thrownBy(reader.refresh(), "Corrupt");
  expect(error.message).toBe(
    "read commit t1/_delta_log/00000000000000000003.json line 1: path is not a string",
  );
  expect(reader.snapshot).toBe(known);
  await thrownBy(reader.commit(addOf("d")), "Corrupt");
  await store.delete(commitKey("t1", 3));
  expect((await reader.commit(addOf("d"))).version).toBe(3);
});

test("a commit that is missing in the middle", async () => {
  const store = await started();
  await store.delete(commitKey("t1", 1));
  const error = await thrownBy(tableOf(store).refresh(), "Corrupt");
  expect(error.message).toContain("00000000000000000001.json: it is missing while commit 2");
});

test("a log that begins with a checkpoint", async () => {
  const store = await started();
  await store.delete(commitKey("t1", 0));
  for (const name of ["_last_checkpoint", "00000000000000000001.checkpoint.parquet"]) {
    const error = await thrownBy(tableOf(store).refresh(), "Corrupt");
    expect(error.reason).toBe("checkpoint_needed");
    expect(error.message).toContain("the log begins at version 1, not 0");
    await store.put(`t1/_delta_log/${name}`, new Uint8Array(2));
  }
});

test("only a checkpoint", async () => {
  for (const name of ["_last_checkpoint", "00000000000000000010.checkpoint.parquet"]) {
    const store = new MemoryStore();
    await store.put(`t1/_delta_log/${name}`, new Uint8Array(2));
    const table = tableOf(store);
    expect((await thrownBy(table.refresh(), "Corrupt")).reason).toBe("checkpoint_needed");
    expect((await thrownBy(table.commit(addOf("a")), "Corrupt")).reason).toBe("checkpoint_needed");
  }
});

test("other files in the log's folder are ignored", async () => {
  const store = await started();
  for (const name of ["00000000000000000003.crc", "00000000000000000003.json.tmp", "x.json"]) {
    await store.put(`t1/_delta_log/${name}`, new Uint8Array(2));
  }
  await store.put("t1/_delta_log/00000000000000000002.checkpoint.parquet", new Uint8Array(2));
  expect((await tableOf(store).refresh()).version).toBe(2);
});

test("a commit with an impossible version or size is an error", async () => {
  const store = await started();
  await store.put("t1/_delta_log/99999999999999999999.json", new Uint8Array(2));
  expect((await thrownBy(tableOf(store).refresh(), "Corrupt")).message).toContain("out of range");
  await store.delete("t1/_delta_log/99999999999999999999.json");
  await store.put(commitKey("t1", 3), new Uint8Array(16 * 2 ** 20 + 1));
  const counted = countStore(store);
  const error = await thrownBy(tableOf(counted).refresh(), "Corrupt");
  expect(error.message).toContain("16777217 bytes exceed 16777216");
  expect(counted.counts.get.bytes, "it was not read").toBeLessThan(20_000);
});

test("tables that need a newer reader, or are not ours", async () => {
  const source = new MemoryStore();
  await tableOf(source).commit(addOf("a"));
  const text = await textAt(source, 0);
  const edits: [string, string, string][] = [
    ['"minReaderVersion":1', '"minReaderVersion":3', "newer_format"],
    ['"minWriterVersion":2', '"minWriterVersion":7', "newer_format"],
    ['"spoor.formatVersion":"1"', '"spoor.formatVersion":"2"', "newer_format"],
    ['"spoor.formatVersion":"1"', '"spoor.formatVersion":"1.5"', "corrupt_commit"],
    ['"spoor.formatVersion":"1"', "", "corrupt_commit"],
    ['"partitionColumns":[]', '"partitionColumns":["day"]', "corrupt_commit"],
    ['"provider":"parquet"', '"provider":"orc"', "corrupt_commit"],
    ['{"protocol"', '{"prototype"', "corrupt_commit"],
  ];
  for (const [from, to, reason] of edits) {
    const store = new MemoryStore();
    expect(text).toContain(from);
    await putText(store, 0, text.replace(from, to));
    const error = await thrownBy(tableOf(store).refresh(), "Corrupt");
    expect(error.reason, to).toBe(reason);
    expect(error.message).toContain(commitKey("t1", 0));
  }
});
