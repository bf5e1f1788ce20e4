/** DuckDB reads blocks as plain Parquet files and sees the values that our reader sees. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  DuckDBBlobValue,
  type DuckDBConnection,
  DuckDBInstance,
  DuckDBListValue,
  type DuckDBValue,
} from "@duckdb/node-api";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Column, type ColumnBatch, isValid, valueBytes } from "#pkg/columns/column-batch.ts";
import { columnType, type ColumnType } from "#pkg/columns/schema.ts";
import { randomWire } from "#pkg/otlp/random-otlp.testing.ts";
import { openBlock } from "./reader.ts";
import { cutRequests, cutTraces, sampleTraces, storeOf, testKey } from "./block.testing.ts";

let folder = "";
let duckdb: DuckDBConnection;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "spoor-duckdb-"));
  duckdb = await (await DuckDBInstance.create(":memory:")).connect();
});
afterAll(async () => {
  duckdb.closeSync();
  await rm(folder, { recursive: true, force: true });
});

async function rowsOf(sql: string): Promise<Record<string, unknown>[]> {
  const rows = (await duckdb.runAndReadAll(sql)).getRowObjects();
  return rows.map((row) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)])),
  );
}

function plain(value: DuckDBValue): unknown {
  if (value instanceof DuckDBListValue) return value.items.map(plain);
  if (value instanceof DuckDBBlobValue) return Buffer.from(value.bytes).toString("hex");
  if (typeof value === "number" && Object.is(value, -0)) return "-0";
  return value;
}

let fileCount = 0;

async function fileOf(bytes: Uint8Array): Promise<string> {
  const path = join(folder, `${fileCount++}.parquet`);
  await writeFile(path, bytes);
  return path;
}

/** Reads all rows of a block with our reader, in the form in which DuckDB shows them. */
async function ownRows(bytes: Uint8Array): Promise<Record<string, unknown>[]> {
  const store = await storeOf(bytes);
  const reader = await openBlock({ store, key: testKey, sizeBytes: bytes.length });
  const out: Record<string, unknown>[] = [];
  for (let i = 0; i < reader.rowGroups.length; i++) {
    const batch = await reader.readRowGroup(i);
    for (let row = 0; row < batch.rows; row++) out.push(ownRow(batch, row));
  }
  reader.close();
  return out;
}

function ownRow(batch: ColumnBatch, row: number): Record<string, unknown> {
  return Object.fromEntries(
    batch.names.map((name) => [name, cell(batch.column(name)!, row)] as const),
  );
}

function cell(column: Column, row: number): unknown {
  switch (column.kind) {
    case "list": {
      const items: unknown[] = [];
      for (let i = column.offsets[row]; i < column.offsets[row + 1]; i++) {
        items.push(cell(column.child, i));
      }
      return items;
    }
    case "dict": {
      const code = column.codes[row];
      if (code < 0) return null;
      // DuckDB's client, not DuckDB, drops a byte order mark at the start of a text.
      if (column.type === "string") {
        return new TextDecoder().decode(valueBytes(column.dictionary, code));
      }
      return Buffer.from(valueBytes(column.dictionary, code)).toString("hex");
    }
    default: {
      if (!isValid(column.valid, row)) return null;
      const value = column.values[row];
      if (column.kind === "bool") return value !== 0;
      return Object.is(value, -0) ? "-0" : value;
    }
  }
}

const duckTypes: Record<ColumnType, string> = {
  string: "VARCHAR",
  binary: "BLOB",
  int64: "BIGINT",
  int32: "INTEGER",
  double: "DOUBLE",
  bool: "BOOLEAN",
  "list<string>": "VARCHAR[]",
  "list<binary>": "BLOB[]",
  "list<int64>": "BIGINT[]",
  "list<int32>": "INTEGER[]",
};

describe("DuckDB", () => {
  const block = cutTraces(sampleTraces(), { rowGroupSpans: 8 });

  it("runs queries on a block", async () => {
    const path = await fileOf(block.bytes);
    const [counts] = await rowsOf(
      `select count(*) as spans, count(distinct trace_id) as traces, count(parent_span_id) as
       children, sum(duration_nano)::bigint as duration from '${path}'`,
    );
    expect(counts).toEqual({ spans: 40n, traces: 10n, children: 30n, duration: 50_000n });
    const byName = await rowsOf(
      `select name, count(*) as n, max("span.code:int") as code from '${path}'
       where "resource.service.name" = 'shop' and "span.http.method" = 'POST'
       group by name order by name`,
    );
    expect(byName).toEqual([
      { name: "op 1", n: 10n, code: 201n },
      { name: "op 3", n: 10n, code: 203n },
    ]);
    const lists = await rowsOf(
      `select distinct event_name, link_span_id[1] is not null as linked, resource_rest_key,
       resource_rest_value from '${path}' where name in ('op 2', 'op 3') order by linked`,
    );
    const rest = {
      resource_rest_key: ["tags"],
      resource_rest_value: ['j{"arrayValue":{"values":[{"intValue":"1"}]}}'],
    };
    expect(lists).toEqual([
      { event_name: ["retry"], linked: false, ...rest },
      { event_name: [], linked: true, ...rest },
    ]);
    const tree = await rowsOf(
      `select child.name as child, parent.name as parent from '${path}' child join '${path}' parent
       on child.trace_id = parent.trace_id and child.nested_parent = parent.nested_left
       where child.trace_start_unix_nano = (select min(trace_start_unix_nano) from '${path}')
       order by child.nested_left`,
    );
    expect(tree).toEqual([
      { child: "op 1", parent: "op 0" },
      { child: "op 3", parent: "op 1" },
      { child: "op 2", parent: "op 0" },
    ]);
  });

  it("sees every value of every column as our reader does", async () => {
    const requests = fc.array(randomWire, { minLength: 1, maxLength: 3 });
    const seen = new Set<ColumnType>();
    await fc.assert(
      fc.asyncProperty(requests, fc.integer({ min: 1, max: 10 }), async (sent, rowGroupSpans) => {
        const made = cutRequests(
          sent.map(({ bytes }) => bytes),
          { rowGroupSpans },
        );
        if (made === undefined) return;
        await expectSame(made.bytes, seen);
      }),
      { numRuns: 25 },
    );
    await expectSame(block.bytes, seen);
    expect([...seen].sort()).toEqual(Object.keys(duckTypes).sort());
  });

  async function expectSame(bytes: Uint8Array, seen: Set<ColumnType>): Promise<void> {
    const path = await fileOf(bytes);
    const own = await ownRows(bytes);
    const found = await rowsOf(`select * from '${path}'`);
    expect(found).toEqual(own);
    const columns = await rowsOf(`describe select * from '${path}'`);
    for (const { column_name: name, column_type: type } of columns) {
      const expected = columnType(String(name))!;
      seen.add(expected);
      expect([name, type]).toEqual([name, duckTypes[expected]]);
    }
  }

  it("reads several blocks of different columns together", async () => {
    const other = sampleTraces(3);
    for (const span of other.resourceSpans[0].scopeSpans[0].spans) {
      span.attributes = [{ key: "only.here", value: { kind: "bool", value: true } }];
      span.events = [];
    }
    const second = cutTraces(other);
    const paths = [await fileOf(block.bytes), await fileOf(second.bytes)];
    const [counts] = await rowsOf(
      `select count(*) as spans, count("span.only.here:bool") as here, count("span.order") as orders
       from read_parquet(['${paths.join("', '")}'], union_by_name = true)`,
    );
    expect(counts).toEqual({ spans: 52n, here: 12n, orders: 40n });
  });
});
