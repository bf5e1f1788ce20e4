import { describe, expect, test } from "vitest";
import { countStore } from "#pkg/objstore/count.ts";
import { faultStore } from "#pkg/objstore/fault.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import { commitKey } from "./history.ts";
import { type Change, type ColumnDef, openTable, type Snapshot, type Table } from "./table.ts";
import { addOf, blockOf, coreColumns, nowMs, tableOf, testClock, thrownBy } from "./testing.ts";
import { openLog } from "#pkg/log/log.ts";

const paths = (snapshot: Snapshot): string[] => [...snapshot.files.keys()].sort();
const pathOf = (name: string): string => blockOf(name).path;

async function textAt(store: ObjectStore, version: number): Promise<string> {
  return new TextDecoder().decode(await store.get(commitKey("t1", version)));
}

async function putText(store: ObjectStore, version: number, text: string): Promise<void> {
  await store.put(commitKey("t1", version), new TextEncoder().encode(text));
}

describe("commit and refresh", () => {
  test("a table is nothing until its first commit", async () => {
    const store = new MemoryStore();
    const table = tableOf(store);
    const snapshot = await table.refresh();
    expect(snapshot.version).toBe(-1);
    expect(snapshot.files.size).toBe(0);
    expect(await Array.fromAsync(store.list(""))).toEqual([]);
    await thrownBy(table.refresh({ minVersion: 0 }), "Unavailable");
  });

  test("what one instance commits another reads, all of it", async () => {
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
    expect(paths(first.snapshot), "a snapshot does not change").toEqual([pathOf("a"), pathOf("b")]);
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
    expect([list.requests, get.requests, putIfAbsent.requests]).toEqual([1, 0, 1]);
    await writer.commit(addOf("b"));
    expect([list.requests, get.requests, putIfAbsent.requests]).toEqual([1, 0, 2]);
    const snapshot = await reader.refresh();
    expect([list.requests, get.requests]).toEqual([2, 2]);
    expect(await reader.refresh()).toBe(snapshot);
    expect([list.requests, get.requests]).toEqual([3, 2]);
    expect(await reader.refresh({ minVersion: 1 })).toBe(snapshot);
    expect(list.requests).toBe(3);
    await thrownBy(reader.refresh({ minVersion: 2 }), "Unavailable");
    await writer.commit(addOf("c"));
    const bytesBefore = get.bytes;
    expect((await reader.refresh({ minVersion: 2 })).version).toBe(2);
    expect([get.requests, get.bytes - bytesBefore]).toEqual([3, (await textAt(store, 2)).length]);
  });

  test("callers at the same time share requests, and all see what was there before", async () => {
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

  test("a refresh does not make do with one that listed the log before", async () => {
    const below = new MemoryStore();
    await tableOf(below).commit(addOf("a"));
    const listed = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const store = faultStore(below, () => "none");
    const get = store.get.bind(store);
    store.get = async (key) => {
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
    expect(store.calls, "two lists, two gets").toBe(4);
  });

  test("an abort ends the waiting of its caller only", async () => {
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
    expect(paths(await tableOf(store, "t1").refresh())).toEqual([pathOf("a")]);
    expect(await store.listFolders("")).toEqual(["t1", "t10"]);
    for (const tenant of ["", "a/b", "..", ".tmp"]) {
      const [clock, log] = [testClock, openLog("silent")];
      expect(() => openTable({ store, tenant, clock, log })).toThrow(
        expect.objectContaining({ code: "InvalidInput" }),
      );
    }
  });
});

describe("contradictions", () => {
  async function twoTables(): Promise<{ store: MemoryStore; one: Table; two: Table }> {
    const store = new MemoryStore();
    const one = tableOf(store);
    await one.commit(addOf("base"));
    const two = tableOf(store);
    await two.refresh();
    return { store, one, two };
  }

  const remove = (name: string): Change => ({
    remove: [pathOf(name)],
    operation: "DELETE",
    dataChange: true,
  });
  const txn = (name: string, expectedVersion: number | undefined, version: number): Change => ({
    ...addOf(name),
    transaction: { appId: "log/4/1", expectedVersion, version },
  });

  test("independent changes are rebased", async () => {
    const { one, two } = await twoTables();
    await one.commit({ ...txn("a", undefined, 5), remove: [pathOf("base")] });
    const other = { appId: "log/4/2", expectedVersion: undefined, version: 9 };
    const { version, snapshot } = await two.commit({ ...addOf("b"), transaction: other });
    expect(version).toBe(2);
    expect(paths(snapshot)).toEqual([pathOf("a"), pathOf("b")]);
    expect(Object.fromEntries(snapshot.transactions)).toEqual({ "log/4/1": 5, "log/4/2": 9 });
  });

  test("own transaction moved by another: the writer ends", async () => {
    const { store, one, two } = await twoTables();
    await one.commit(txn("a", undefined, 5));
    const error = await thrownBy(two.commit(txn("b", undefined, 6)), "Conflict");
    expect(error.reason).toBe("transaction_changed");
    expect(error.message).toContain("log/4/1 is at 5, expected none");
    await two.commit(txn("b", 5, 6));
    expect((await thrownBy(one.commit(txn("c", 7, 8)), "Conflict")).message).toContain("at 6");
    expect(paths(await tableOf(store).refresh())).toEqual(["a", "b", "base"].map(pathOf));
  });

  test("an instance that lags behind looks again before it says conflict", async () => {
    const { one, two } = await twoTables();
    await one.commit(txn("a", undefined, 5));
    await one.commit({ ...txn("b", 5, 6), columns: [{ name: "span.x", type: "long" }] });
    expect(two.snapshot.version).toBe(0);
    const stats = { rows: 1, min: { "span.x": 1n }, max: {} };
    await two.commit({
      add: [{ ...blockOf("c"), stats }],
      remove: [pathOf("a")],
      transaction: { appId: "log/4/1", expectedVersion: 6, version: 7 },
      operation: "WRITE",
      dataChange: true,
    });
    expect(paths(await one.refresh())).toEqual(["b", "base", "c"].map(pathOf));
  });

  test("the same change again is told apart from another's", async () => {
    const { one, two } = await twoTables();
    const change = txn("a", undefined, 5);
    await one.commit(change);
    expect((await thrownBy(two.commit(change), "Conflict")).reason).toBe("already_committed");
    await one.commit({ ...remove("a"), add: [blockOf("merged")], dataChange: false });
    expect((await thrownBy(two.commit(change), "Conflict")).reason).toBe("already_committed");
    const other = await thrownBy(two.commit(txn("z", undefined, 5)), "Conflict");
    expect(other.reason).toBe("transaction_changed");
  });

  test("an input that is gone, and a path that is or was there", async () => {
    const { one, two } = await twoTables();
    await one.commit({ ...remove("base"), add: [blockOf("merged")], dataChange: false });
    const gone = await thrownBy(two.commit({ ...remove("base"), ...addOf("mine") }), "Conflict");
    expect(gone.reason).toBe("input_gone");
    for (const name of ["merged", "base"]) {
      const twice = await thrownBy(two.commit(addOf(name)), "Conflict");
      expect(twice.reason).toBe("path_exists");
    }
    expect(paths(await two.refresh())).toEqual([pathOf("merged")]);
  });

  test("columns grow in the commit that needs them, of both racers", async () => {
    const { store, one, two } = await twoTables();
    const withColumn = (name: string, column: ColumnDef): Change => ({
      ...addOf(name),
      columns: [...coreColumns, column],
    });
    await one.commit(withColumn("a", { name: "span.http.code:int", type: "long" }));
    await two.commit(withColumn("b", { name: "span.user", type: "string" }));
    await one.commit(withColumn("c", { name: "span.user", type: "string" }));
    const { columns } = await tableOf(store).refresh();
    expect([...columns.keys()].slice(3)).toEqual(["span.http.code:int", "span.user"]);
    const hasMetaData = async (version: number): Promise<boolean> =>
      (await textAt(store, version)).includes('{"metaData"');
    expect(await Promise.all([0, 1, 2, 3].map(hasMetaData))).toEqual([true, true, true, false]);
    const ids = await Promise.all([0, 1, 2].map(async (version) => await textAt(store, version)));
    const id = ids.map((text) => /"metaData":\{"id":"([^"]+)"/u.exec(text)?.[1]);
    expect(new Set(id).size).toBe(1);
  });

  test("a column of another type or spelling, and one too many", async () => {
    const { one, two } = await twoTables();
    const grow = (...columns: ColumnDef[]): Change => ({ ...addOf("x"), columns });
    await one.commit({ ...addOf("a"), columns: [{ name: "span.code", type: "long" }] });
    for (const column of [
      { name: "span.code", type: "string" },
      { name: "span.Code", type: "long" },
      { name: "NAME", type: "string" },
      { name: "event_name", type: "array<long>" },
    ] satisfies ColumnDef[]) {
      const error = await thrownBy(two.commit(grow(column)), "Conflict");
      expect(error.reason).toBe("schema_conflict");
    }
    const many = Array.from({ length: 1997 }, (_, at): ColumnDef => {
      return { name: `span.many.${at}`, type: "string" };
    });
    const error = await thrownBy(two.commit(grow(...many)), "Conflict");
    expect(error.reason).toBe("too_many_columns");
    await two.commit(grow(...many.slice(1)));
    expect((await one.refresh()).columns.size).toBe(2000);
  });

  test("foreign columns and settings survive growth", async () => {
    const { store, one } = await twoTables();
    const text = (await textAt(store, 0)).split("\n").find((line) => line.includes("metaData"));
    const foreign = { name: "note", type: { type: "map", keyType: "string", valueType: "string" } };
    const { metaData } = JSON.parse(text ?? "") as { metaData: { schemaString: string } };
    const schema = JSON.parse(metaData.schemaString) as { fields: unknown[] };
    schema.fields.push({ ...foreign, nullable: true, metadata: { comment: "theirs" } });
    Object.assign(metaData, { schemaString: JSON.stringify(schema), description: "our traces" });
    await putText(store, 1, JSON.stringify({ metaData }));
    await one.commit({ ...addOf("a"), columns: [{ name: "span.new", type: "double" }] });
    const { columns } = await tableOf(store).refresh();
    expect([...columns.keys()].slice(3)).toEqual(["note", "span.new"]);
    expect(columns.get("note")).toContain('"type":"map"');
    const grown = await textAt(store, 2);
    expect(grown).toContain('"description":"our traces"');
    expect(grown).toContain(String.raw`{\"comment\":\"theirs\"}`);
  });
});

test("changes that no table takes are refused before any request", async () => {
  const store = countStore(new MemoryStore());
  const table = tableOf(store);
  const block = blockOf("a");
  const txn = (expectedVersion: number | undefined, version: number): Partial<Change> => ({
    transaction: { appId: "app", expectedVersion, version },
  });
  const bad: Partial<Change>[] = [
    { add: [], columns: [] },
    { operation: "" },
    { operation: "drop\ntable" },
    { add: [block, block] },
    { remove: [block.path] },
    { add: [{ ...block, path: "../a" }] },
    { add: [{ ...block, path: "_delta_log/a" }] },
    { add: [{ ...block, path: "x/".repeat(511) + "xx" }] },
    { add: [{ ...block, sizeBytes: -1 }] },
    { add: [{ ...block, modifiedMs: 0.5 }] },
    { add: [{ ...block, stats: { ...block.stats, rows: 2 ** 53 } }] },
    { add: [{ ...block, tags: { a: "\ud800" } }] },
    { add: [{ ...block, tags: { a: "x".repeat(70_000) } }] },
    txn(5, 5),
    txn(5, 4),
    txn(undefined, -1),
    { transaction: { appId: "", expectedVersion: undefined, version: 1 } },
    { columns: [{ name: "a b", type: "long" }] },
    { columns: [{ name: "a", type: "decimal(3,1)" as "long" }] },
    { columns: [{ name: "a", type: "array<long" as "long" }] },
    { columns: ["a", "A"].map((name) => ({ name, type: "long" })) },
    { columns: Array.from({ length: 2001 }, (_, at) => ({ name: `c${at}`, type: "long" })) },
  ];
  for (const part of bad) await thrownBy(table.commit({ ...addOf("a"), ...part }), "InvalidInput");
  expect(store.counts.list.requests).toBe(0);
  const stats = (column: string, value: bigint | number | string): Change => ({
    ...addOf(),
    add: [{ ...block, stats: { rows: 1, min: { [column]: value }, max: {} } }],
  });
  for (const change of [
    stats("start_unix_nano", 1),
    stats("name", 1n),
    stats("nowhere", 1n),
    stats("event_name", "a"),
    stats("name", "x".repeat(70_000)),
  ]) {
    await thrownBy(table.commit(change), "InvalidInput");
  }
  const tags = { big: "x".repeat(60_000) };
  const huge = Array.from({ length: 300 }, (_, at) => ({ ...blockOf(`${at}`), tags }));
  await thrownBy(table.commit({ ...addOf(), add: huge }), "TooLarge");
  expect(await Array.fromAsync(store.list(""))).toEqual([]);
});

describe("logs that cannot be read are refused, naming the key", () => {
  async function started(): Promise<MemoryStore> {
    const store = new MemoryStore();
    const table = tableOf(store);
    for (const name of ["a", "b", "c"]) await table.commit(addOf(name));
    return store;
  }

  test("a broken commit, and a reader that keeps what it knew", async () => {
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
      expect((await thrownBy(table.commit(addOf("a")), "Corrupt")).reason).toBe(
        "checkpoint_needed",
      );
    }
  });

  test("other files in the log's folder are passed over", async () => {
    const store = await started();
    for (const name of ["00000000000000000003.crc", "00000000000000000003.json.tmp", "x.json"]) {
      await store.put(`t1/_delta_log/${name}`, new Uint8Array(2));
    }
    await store.put("t1/_delta_log/00000000000000000002.checkpoint.parquet", new Uint8Array(2));
    expect((await tableOf(store).refresh()).version).toBe(2);
  });

  test("a commit of an absurd version or size", async () => {
    const store = await started();
    await store.put("t1/_delta_log/99999999999999999999.json", new Uint8Array(2));
    expect((await thrownBy(tableOf(store).refresh(), "Corrupt")).message).toContain("out of range");
    await store.delete("t1/_delta_log/99999999999999999999.json");
    await store.put(commitKey("t1", 3), new Uint8Array(16 * 2 ** 20 + 1));
    const counted = countStore(store);
    const error = await thrownBy(tableOf(counted).refresh(), "Corrupt");
    expect(error.message).toContain("16777217 bytes are over 16777216");
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
});
