/**
 * Conditions beside DuckDB on the same files, on one thread each: the spans that match, counted
 * over all row groups, and the newest 20 traces with one. Both must give the same answers.
 */
import { planQuery } from "#pkg/engine/condition/plan.ts";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { type BlockReader, openBlock } from "#pkg/block/reader.ts";
import { type BlockTags, parseBlockTags } from "#pkg/block/block-file.ts";
import { Arena } from "#pkg/bytes/arena.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { countRowGroup } from "#pkg/engine/row-group/row-group.ts";
import { searchNewest } from "#pkg/query/search.ts";
import { TestSpans } from "#pkg/query/testing/spans.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import { openTable } from "#pkg/table/delta-table.ts";
import { singleTenant } from "#pkg/tenant/tenant-name.ts";
import { type FieldExpr, parseQuery } from "#pkg/traceql/traceql.ts";
import type { BuiltBlocks } from "./blocks.ts";
import { median } from "./measure.ts";

interface Question {
  title: string;
  query: string;
  /** The same for DuckDB. */
  where: string;
}

/** The rest lists hold typed values: a text begins with its mark. */
const couponAt = "list_position(span_rest_key, 'shop.coupon')";

function questions(): Question[] {
  return [
    {
      title: "a number",
      query: "{ span.http.response.status_code = 500 }",
      where: `"span.http.response.status_code:int" = 500`,
    },
    {
      title: "a name and a duration",
      query: '{ name = "GET /api/v1/orders/4" && duration > 100ms }',
      where: `name = 'GET /api/v1/orders/4' and duration_nano > 100000000`,
    },
    {
      title: "a regular expression",
      query: '{ name =~ "POST /api/v1/(carts|users)/.*" }',
      where: `regexp_full_match(name, 'POST /api/v1/(carts|users)/.*')`,
    },
    {
      title: "a rare key",
      query: '{ span.shop.coupon = "SPRING-7" }',
      where: `${couponAt} > 0 and span_rest_value[${couponAt}] like '%SPRING-7'`,
    },
  ];
}

export interface DuckdbBench {
  built: BuiltBlocks;
  dataDir: string;
  runs: number;
  print: (line: string) => void;
}

export async function benchBesideDuckdb(bench: DuckdbBench): Promise<void> {
  const { built, dataDir, runs, print } = bench;
  const opened = await openAll(dataDir);
  const readers = opened.map(({ reader }) => reader);
  const duckdb = await (await DuckDBInstance.create(":memory:")).connect();
  await duckdb.run("set threads = 1");
  const files = built.files.map((file) => `'${file}'`).join(", ");
  await duckdb.run(
    `create view spans as select * from read_parquet([${files}], union_by_name = true)`,
  );
  print(
    `\n${built.spans} spans in ${built.files.length} blocks, ` +
      `${(built.sizeBytes / built.spans).toFixed(1)} bytes per span; one thread each, ` +
      `median of ${runs} alternating runs, milliseconds`,
  );
  print(`${"".padEnd(24)}${"count".padStart(22)}${"newest 20 traces".padStart(26)}`);
  print(
    `${"".padEnd(24)}${"ours  DuckDB  ratio".padStart(22)}${"ours  DuckDB  ratio".padStart(26)}`,
  );
  for (const { title, query, where } of questions()) {
    const filter = filterOf(query);
    const count = await compare(
      runs,
      () => countAll(readers, filter),
      async () => {
        const result = await duckdb.runAndReadAll(`select count(*) from spans where ${where}`);
        return Number(result.getRows()[0][0]);
      },
    );
    // A trace's place is that of its first span, matching or not.
    const sql =
      "select lower(hex(trace_id)) from spans where trace_id in " +
      `(select trace_id from spans where ${where}) ` +
      "group by trace_id order by min(start_unix_nano) desc, trace_id limit 20";
    const newest = await compare(
      runs,
      () => searchAll(opened, filter),
      async () => (await duckdb.runAndReadAll(sql)).getRows().flat().join(" "),
    );
    print(`${title.padEnd(24)}${count.padStart(22)}${newest.padStart(26)}   ${query}`);
  }
  duckdb.closeSync();
  for (const reader of readers) reader.close();
}

/** Both must agree. */
async function compare<T extends number | string>(
  runs: number,
  ours: () => Promise<T>,
  theirs: () => Promise<T>,
): Promise<string> {
  const times: { ours: number[]; theirs: number[] } = { ours: [], theirs: [] };
  for (let run = 0; run <= runs; run++) {
    const answers: T[] = [];
    for (const [side, work] of [
      ["ours", ours],
      ["theirs", theirs],
    ] as const) {
      const startedMs = performance.now();
      answers.push(await work());
      // The first run warms both up.
      if (run > 0) times[side].push(performance.now() - startedMs);
    }
    if (answers[0] !== answers[1]) throw new Error(`ours ${answers[0]}, DuckDB ${answers[1]}`);
  }
  const a = median(times.ours);
  const b = median(times.theirs);
  const ratio = (a / b).toFixed(2).padStart(6);
  return `${a.toFixed(0).padStart(5)} ${b.toFixed(0).padStart(6)} ${ratio}`;
}

interface Opened {
  path: string;
  sizeBytes: number;
  reader: BlockReader;
  tags: BlockTags;
}

async function openAll(dataDir: string): Promise<Opened[]> {
  const store = await openFsStore(join(dataDir, "bucket"));
  const log = openLog("silent");
  const table = openTable({ store, tenant: singleTenant, clock: systemClock, log });
  const { files } = await table.refresh();
  return await Promise.all(
    [...files.values()].map(async (file) => {
      const { sizeBytes, path } = file;
      const tags = parseBlockTags(file);
      const { indexOffset } = tags;
      const key = `${singleTenant}/${path}`;
      const reader = await openBlock({ store, key, sizeBytes, indexOffset });
      return { path, sizeBytes, reader, tags };
    }),
  );
}

async function countAll(readers: readonly BlockReader[], filter: FieldExpr): Promise<number> {
  const arena = new Arena();
  let count = 0;
  for (const reader of readers) {
    for (const group of reader.rowGroups.keys()) {
      arena.reset();
      count += await countRowGroup(reader, group, filter, arena);
    }
  }
  return count;
}

/** The search itself, with its early end, over blocks that are read in this thread. */
async function searchAll(blocks: readonly Opened[], filter: FieldExpr): Promise<string> {
  const spans = new TestSpans();
  for (const { path, sizeBytes, ...open } of blocks) spans.addOpened(path, sizeBytes, open);
  const { signal } = new AbortController();
  const range = { startNano: 0n, endNano: 2n ** 63n - 1n };
  const query = {
    tenant: singleTenant,
    ...range,
    limit: 20,
    spansPerTrace: 3,
    plan: planQuery(filter),
    signal,
  };
  const jobs = { jobBytesMax: 4 * 1024 * 1024, jobRowGroupsMax: 64 };
  const options = { concurrency: 1, memoryBytesMax: 2 ** 28, ...jobs };
  const { traces } = await searchNewest(spans.both, query, options);
  return traces.map(({ traceId }) => traceId).join(" ");
}

function filterOf(query: string): FieldExpr {
  const { body } = parseQuery(query);
  const [stage] = body.kind === "pipeline" ? body.stages : [];
  if (stage?.kind !== "filter") throw new Error(`not one filter: ${query}`);
  return stage.expr;
}
