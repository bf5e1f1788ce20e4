/** Tests of changes that contradict the table, or are invalid for every table. */
import { expect, test } from "vitest";
import { countStore } from "#pkg/objstore/wrap/count.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import type { Table } from "./delta-table.ts";
import type { Change, ColumnDef } from "./table-model.ts";
import { addOf, blockOf, coreColumns, pathOf, pathsOf, putText, tableOf } from "./table.testing.ts";
import { textAt, thrownBy } from "./table.testing.ts";

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
  expect(pathsOf(snapshot)).toEqual([pathOf("a"), pathOf("b")]);
  expect(Object.fromEntries(snapshot.transactions)).toEqual({ "log/4/1": 5, "log/4/2": 9 });
});

test("a writer fails when another has advanced its transaction", async () => {
  const { store, one, two } = await twoTables();
  await one.commit(txn("a", undefined, 5));
  const error = await thrownBy(two.commit(txn("b", undefined, 6)), "Conflict");
  expect(error.reason).toBe("transaction_changed");
  expect(error.message).toContain("log/4/1 is at 5, expected none");
  await two.commit(txn("b", 5, 6));
  expect((await thrownBy(one.commit(txn("c", 7, 8)), "Conflict")).message).toContain("at 6");
  expect(pathsOf(await tableOf(store).refresh())).toEqual(["a", "b", "base"].map(pathOf));
});

test("an instance with an old snapshot refreshes before it throws Conflict", async () => {
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
  expect(pathsOf(await one.refresh())).toEqual(["b", "base", "c"].map(pathOf));
});

test("a repeated change is distinguished from another writer's change", async () => {
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
  expect(pathsOf(await two.refresh())).toEqual([pathOf("merged")]);
});

test("each of two racing commits adds its columns", async () => {
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

test("invalid changes are refused before any request", async () => {
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
