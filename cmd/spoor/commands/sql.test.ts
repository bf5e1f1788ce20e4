import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { expect, it } from "vitest";
import { tableColumns } from "#pkg/block/block-file.ts";
import { commitOf, cutRequests } from "#pkg/block/block.testing.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { type SpanSpec, traceDataOf } from "#pkg/engine/testing/spans.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { TraceData } from "#pkg/otlp/trace-data.ts";
import { singleTenant } from "#pkg/tenant/tenant-name.ts";
import { openTable } from "#pkg/table/delta-table.ts";
import { runCli } from "#cmd/spoor/cli.ts";
import { recordIo } from "#cmd/spoor/spoor.testing.ts";

/** Returns 200 spans; the spans before `upTo` have the attributes. */
function spans(upTo: number, attributes: SpanSpec["attributes"]): TraceData {
  const ids = (i: number): string => (i + 1).toString(16);
  return traceDataOf(
    Array.from({ length: 200 }, (_, i) => ({
      traceId: ids(i).padStart(32, "0"),
      spanId: ids(i).padStart(16, "0"),
      service: i % 2 === 0 ? "shop" : "cart",
      startNano: 1n,
      endNano: 2n,
      attributes: i < upTo ? attributes : {},
    })),
  );
}

it("SQL of `spoor sql` counts rare attributes and the last of repeats, in the table's files only", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "spoor-sql-"));
  try {
    const store = await openFsStore(join(dataDir, "bucket"));
    const table = openTable({
      store,
      tenant: singleTenant,
      clock: systemClock,
      log: openLog("silent"),
    });
    const attributes = { e: "it's", n: 7n, d: 1, b: true };
    // 3 % of one block, in rest lists, and 7 % of another, in columns.
    const rare = spans(6, attributes);
    const first = rare.resourceSpans[0].scopeSpans[0].spans[0].attributes;
    first.push({ key: "e", value: { kind: "string", value: "last" } });
    const sources = [rare, spans(14, attributes), spans(14, attributes)];
    for (const [i, data] of sources.entries()) {
      const block = cutRequests([encodeTraceData(data)], { rowGroupSpans: 100 })!;
      const own = commitOf(block);
      const path = own.path.replace(/[^/]+\.parquet/, `01JDB0000000000000000000${i}A.parquet`);
      await store.put(`${singleTenant}/${path}`, block.bytes);
      // No commit names the last file.
      if (i === 2) continue;
      const columns = tableColumns(block.columns);
      const add = [{ ...own, path }];
      await table.commit({ add, columns, operation: "WRITE", dataChange: true });
    }
    const io = recordIo();
    expect(await runCli(["sql", "--data-dir", dataDir], io)).toBe(0);
    const duckdb = await (await DuckDBInstance.create(":memory:")).connect();
    await duckdb.run(io.stdout);
    const count = async (where: string): Promise<unknown> => {
      const rows = await duckdb.runAndReadAll(`select count(*) from spans where ${where}`);
      return rows.getRows()[0][0];
    };
    expect(await count("true")).toBe(400n);
    expect(await count("span_attribute(spans, 'e') = 'it''s'")).toBe(19n);
    expect(await count("span_attribute(spans, 'e') = 'last'")).toBe(1n);
    // A column alone has too few values.
    expect(await count(`"span.e" = 'it''s'`)).toBe(14n);
    expect(await count("span_attribute(spans, 'n') = '7'")).toBe(20n);
    expect(await count("CAST(span_attribute(spans, 'd') AS DOUBLE) = 1")).toBe(20n);
    expect(await count("span_attribute(spans, 'd') = '1.0'")).toBe(20n);
    expect(await count("span_attribute(spans, 'b') = 'true'")).toBe(20n);
    expect(await count("span_attribute(spans, 'nothing') is null")).toBe(400n);
    expect(await count("resource_attribute(spans, 'service.name') = 'shop'")).toBe(200n);
    expect(await count("scope_attribute(spans, 'x') is null")).toBe(400n);
    duckdb.closeSync();
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});
