import { expect, test } from "vitest";
import { openLog } from "#pkg/log/pino-log.ts";
import { countStore } from "#pkg/objstore/wrap/count.ts";
import { faultStore } from "#pkg/objstore/fault.testing.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import { openTable } from "./delta-table.ts";
import { addOf, blockOf, nowMs, pathOf, pathsOf, tableOf, testClock } from "./table.testing.ts";
import { textAt, thrownBy } from "./table.testing.ts";

test("a table is nothing until its first commit", async () => {
  const store = new MemoryStore();
  const table = tableOf(store);
  const snapshot = await table.refresh();
  expect(snapshot.version).toBe(-1);
  expect(snapshot.files.size).toBe(0);
  expect(await Array.fromAsync(store.list(""))).toEqual([]);
  await thrownBy(table.refresh({ minVersion: 0 }), "Unavailable");
});

test("one instance reads everything that another commits", async () => {
  const store = new MemoryStore();
  const writer = tableOf(store);
  const transaction = { appId: "log/4/0", expectedVersion: undefined, version: 10 };
  const first = await writer.commit({ ...addOf("a", "b"), transaction });
  expect(first.version).toBe(0);
  const second = await writer.commit({
    add: [blockOf("c", 7)],
    remove: [pathOf("a")],
    transaction: { appId: "log/4/0", expectedVersion: 10, version: 25 },
    operation: "OPTIMIZE",
    dataChange: false,
  });
  expect(second.version).toBe(1);
  const reader = tableOf(store);
  for (const snapshot of [second.snapshot, writer.snapshot, await reader.refresh()]) {
    expect(snapshot.version).toBe(1);
    expect([...snapshot.files.values()]).toEqual([blockOf("b"), blockOf("c", 7)]);
    expect([...snapshot.transactions]).toEqual([["log/4/0", 25]]);
    expect([...snapshot.tombstones.values()]).toEqual([
      { path: pathOf("a"), deletedMs: nowMs, sizeBytes: 1000 },
    ]);
    expect(Object.fromEntries(snapshot.columns)).toEqual({
      start_unix_nano: "long",
      name: "string",
      event_name: "array<string>",
    });
  }
  expect(pathsOf(first.snapshot), "a snapshot does not change").toEqual([pathOf("a"), pathOf("b")]);
});

test("the first commit carries protocol, schema and our format version", async () => {
  const store = new MemoryStore();
  await tableOf(store).commit(addOf("a"));
  const lines = (await textAt(store, 0)).trimEnd().split("\n");
  const actions = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(actions.map((action) => Object.keys(action)[0])).toEqual([
    "commitInfo",
    "protocol",
    "metaData",
    "add",
  ]);
  expect(actions[1].protocol).toEqual({ minReaderVersion: 1, minWriterVersion: 2 });
  const metaData = actions[2].metaData as { schemaString: string };
  expect(metaData).toMatchObject({
    format: { provider: "parquet", options: {} },
    partitionColumns: [],
    configuration: { "spoor.formatVersion": "1" },
  });
  expect(JSON.parse(metaData.schemaString)).toEqual({
    type: "struct",
    fields: [
      { name: "start_unix_nano", type: "long", nullable: true, metadata: {} },
      { name: "name", type: "string", nullable: true, metadata: {} },
      {
        name: "event_name",
        type: { type: "array", elementType: "string", containsNull: true },
        nullable: true,
        metadata: {},
      },
    ],
  });
  expect(lines[3]).toContain(String.raw`\"start_unix_nano\":1763800000000000001`);
});

test("requests: one PUT per commit, one LIST per refresh without news, none if known", async () => {
  const store = countStore(new MemoryStore());
  const writer = tableOf(store);
  const reader = tableOf(store);
  await writer.commit(addOf("a"));
  const { list, get, putIfAbsent } = store.counts;
  expect([list.requests, get.requests, putIfAbsent.requests]).toEqual([1, 1, 1]);
  await writer.commit(addOf("b"));
  expect([list.requests, get.requests, putIfAbsent.requests]).toEqual([1, 1, 2]);
  const snapshot = await reader.refresh();
  // Each table looks for a checkpoint once.
  expect([list.requests, get.requests]).toEqual([2, 4]);
  expect(await reader.refresh()).toBe(snapshot);
  expect([list.requests, get.requests]).toEqual([3, 4]);
  expect(await reader.refresh({ minVersion: 1 })).toBe(snapshot);
  expect(list.requests).toBe(3);
  await thrownBy(reader.refresh({ minVersion: 2 }), "Unavailable");
  await writer.commit(addOf("c"));
  const bytesBefore = get.bytes;
  expect((await reader.refresh({ minVersion: 2 })).version).toBe(2);
  expect([get.requests, get.bytes - bytesBefore]).toEqual([5, (await textAt(store, 2)).length]);
});

test("concurrent callers share requests, and all see earlier commits", async () => {
  const store = countStore(new MemoryStore());
  await tableOf(store).commit(addOf("a"));
  const before = store.counts.list.requests;
  const reader = tableOf(store);
  const first = reader.refresh();
  await tableOf(store).commit(addOf("b"));
  const counted = store.counts.list.requests;
  const later = await Promise.all(Array.from({ length: 20 }, async () => await reader.refresh()));
  expect((await first).version).toBeGreaterThanOrEqual(0);
  for (const snapshot of later) expect(snapshot.version).toBe(1);
  expect(counted - before).toBeLessThanOrEqual(3);
  expect(store.counts.list.requests - counted).toBeLessThanOrEqual(2);
});

test("a refresh does not join a read that listed the log before the call", async () => {
  const below = new MemoryStore();
  await tableOf(below).commit(addOf("a"));
  const listed = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const store = faultStore(below, () => "none");
  const get = store.get.bind(store);
  store.get = async (key) => {
    if (key.endsWith("_last_checkpoint")) return await get(key);
    listed.resolve();
    await release.promise;
    return await get(key);
  };
  const reader = tableOf(store);
  const first = reader.refresh();
  await listed.promise;
  await tableOf(below).commit(addOf("b"));
  const later = [reader.refresh(), reader.refresh({ minVersion: 1 })];
  release.resolve();
  await first;
  for (const refresh of later) expect((await refresh).version).toBe(1);
  expect(store.calls, "the hint, two lists, two gets").toBe(5);
});

test("an abort ends the wait of its own caller only", async () => {
  const store = new MemoryStore();
  await tableOf(store).commit(addOf("a"));
  const reader = tableOf(store);
  const abort = new AbortController();
  const aborted = reader.refresh({ signal: abort.signal });
  const other = reader.refresh();
  abort.abort();
  await thrownBy(aborted, "Canceled");
  expect((await other).version).toBe(0);
  await thrownBy(reader.refresh({ signal: abort.signal }), "Canceled");
  await thrownBy(reader.commit(addOf("b"), { signal: abort.signal }), "Canceled");
  expect((await reader.refresh()).version).toBe(0);
});

test("10,000 blocks over 400 commits", async () => {
  const store = new MemoryStore();
  const writer = tableOf(store);
  const names = (at: number): string[] => Array.from({ length: 25 }, (_, i) => `${at}-${i}`);
  for (let at = 0; at < 400; at++) await writer.commit(addOf(...names(at)));
  const snapshot = await tableOf(store).refresh();
  expect([snapshot.version, snapshot.files.size]).toEqual([399, 10_000]);
  expect(snapshot.files).toEqual(writer.snapshot.files);
});

test("tenants do not see each other", async () => {
  const store = new MemoryStore();
  await tableOf(store, "t1").commit(addOf("a"));
  await tableOf(store, "t10").commit(addOf("b"));
  expect(pathsOf(await tableOf(store, "t1").refresh())).toEqual([pathOf("a")]);
  expect(await store.listFolders("")).toEqual(["t1", "t10"]);
  for (const tenant of ["", "a/b", "..", ".tmp"]) {
    const [clock, log] = [testClock, openLog("silent")];
    expect(() => openTable({ store, tenant, clock, log })).toThrow(
      expect.objectContaining({ code: "InvalidInput" }),
    );
  }
});
