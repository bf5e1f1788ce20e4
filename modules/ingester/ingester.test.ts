import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Registry } from "prom-client";
import { afterEach, describe, expect, it } from "vitest";
import { openBlock } from "#pkg/block/reader.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { canonicalSpans } from "#pkg/columns/canonical.ts";
import { readSpans } from "#pkg/columns/spans.ts";
import { openLog } from "#pkg/log/log.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import { openFsStore } from "#pkg/objstore/fs.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { Span, TraceData } from "#pkg/otlp/otlp.ts";
import { splitRequest } from "#pkg/otlp/split.ts";
import { openFileLog } from "#pkg/spanlog/file-log.ts";
import type { SpanLog } from "#pkg/spanlog/spanlog.ts";
import { openTable, type Table } from "#pkg/table/table.ts";
import { ingesterConfig } from "./config.ts";
import { Ingester, type IngesterOptions } from "./ingester.ts";

const log = openLog("silent");
const signal = new AbortController().signal;
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function makeFolder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "spoor-ingester-"));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

interface Running {
  ingester: Ingester;
  spanLog: SpanLog;
  store: ObjectStore;
  tables: Map<string, Table>;
  stop(): Promise<void>;
}

async function startIngester(
  dir: string,
  config: Partial<IngesterOptions["config"]> = {},
): Promise<Running> {
  const storeRoot = join(dir, "bucket");
  const logDir = join(dir, "log");
  const store = await openFsStore(storeRoot);
  const spanLog = await openFileLog(logDir, {
    clock: systemClock,
    log,
    partitionCount: 4,
    freeBytesMin: 0,
  });
  const tables = new Map<string, Table>();
  const tableOf = (tenant: string): Table => {
    const table = tables.get(tenant) ?? openTable({ store, tenant, clock: systemClock, log });
    tables.set(tenant, table);
    return table;
  };
  const ingester = new Ingester({
    config: ingesterConfig.parse(config),
    spanLog,
    logDir,
    quarantineDir: join(dir, "quarantine"),
    store,
    storeConfig: { kind: "fs", root: storeRoot },
    tableOf,
    clock: systemClock,
    log,
    registry: new Registry(),
    onFatal: (error) => {
      throw error;
    },
  });
  await ingester.start();
  await ingester.caughtUp();
  const stop = async (): Promise<void> => {
    await ingester.stop();
    await spanLog.close();
  };
  cleanups.push(stop);
  return { ingester, spanLog, store, tables, stop };
}

let counter = 0;

function makeTrace(spanCount: number): { traceId: Uint8Array; data: TraceData } {
  const traceId = new Uint8Array(16);
  new DataView(traceId.buffer).setUint32(0, ++counter);
  traceId[15] = 1;
  const start = BigInt(Date.now()) * 1_000_000n;
  const spans = Array.from({ length: spanCount }, (_, i): Span => {
    const spanId = new Uint8Array(8);
    new DataView(spanId.buffer).setUint32(4, i + 1);
    return {
      traceId,
      spanId,
      traceState: "",
      parentSpanId: i === 0 ? new Uint8Array(0) : Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1),
      name: `operation ${i}`,
      kind: 2,
      startTimeUnixNano: start + BigInt(i),
      endTimeUnixNano: start + 1000n,
      attributes: [{ key: "i", value: { kind: "int", value: BigInt(i) } }],
      droppedAttributesCount: 0,
      events: [],
      droppedEventsCount: 0,
      links: [],
      droppedLinksCount: 0,
      status: { message: "", code: 0 },
      flags: 0,
    };
  });
  const resource = {
    attributes: [{ key: "service.name", value: { kind: "string" as const, value: "shop" } }],
    droppedAttributesCount: 0,
    entityRefs: [],
  };
  const scope = { name: "test", version: "1", attributes: [], droppedAttributesCount: 0 };
  const data = {
    resourceSpans: [{ resource, schemaUrl: "", scopeSpans: [{ scope, schemaUrl: "", spans }] }],
  };
  return { traceId, data };
}

async function append(spanLog: SpanLog, tenant: string, data: TraceData): Promise<void> {
  const { parts } = splitRequest(encodeTraceData(data), { partitionCount: 4 });
  for (const { partition, record } of parts) await spanLog.append(partition, tenant, record);
}

/** Waits until every durable record is in a head: no test depends on how long that takes. */
async function readAll({ ingester }: Running): Promise<void> {
  for (;;) {
    const states = await ingester.states();
    if (states.every(({ nextOffset, durableEnd }) => nextOffset === durableEnd)) return;
  }
}

async function findLive(running: Running, tenant: string, traceId: Uint8Array): Promise<string[]> {
  const pinned = await running.ingester.pin(tenant, signal);
  const found = await Promise.all(pinned.heads.map((head) => head.findTrace(traceId, signal)));
  pinned.release();
  return found.flatMap((bytes) => (bytes ? canonicalSpans(decodeTraceData(bytes)) : [])).sort();
}

async function storedSpans({ store, tables }: Running, tenant: string): Promise<string[]> {
  const { files } = await tables.get(tenant)!.refresh();
  const out: string[] = [];
  for (const { path, sizeBytes } of files.values()) {
    const reader = await openBlock({ store, key: `${tenant}/${path}`, sizeBytes });
    for (let i = 0; i < reader.rowGroups.length; i++) {
      const batch = await reader.readRowGroup(i);
      out.push(...canonicalSpans(readSpans(batch, [...Array(batch.rows).keys()])));
    }
    reader.close();
  }
  return out.sort();
}

describe("ingester", () => {
  it("shows spans live, then stores them; a restart reads what is in no block yet", async () => {
    const dir = await makeFolder();
    const first = await startIngester(dir);
    const traces = Array.from({ length: 20 }, (_, i) => makeTrace(1 + i));
    for (const [i, { data }] of traces.entries()) {
      await append(first.spanLog, i % 2 ? "b" : "a", data);
    }
    await readAll(first);
    for (const [i, { traceId, data }] of traces.entries()) {
      expect(await findLive(first, i % 2 ? "b" : "a", traceId)).toEqual(canonicalSpans(data));
      expect(await findLive(first, i % 2 ? "a" : "b", traceId)).toEqual([]);
    }
    await first.stop();
    const second = await startIngester(dir);
    const late = makeTrace(3);
    await append(second.spanLog, "a", late.data);
    await second.ingester.flush();
    const ofA = [...traces.filter((_, i) => i % 2 === 0), late];
    const ofB = traces.filter((_, i) => i % 2 === 1);
    const expected = (list: typeof traces): string[] =>
      list.flatMap(({ data }) => canonicalSpans(data)).sort();
    expect(await storedSpans(second, "a")).toEqual(expected(ofA));
    expect(await storedSpans(second, "b")).toEqual(expected(ofB));
    await second.stop();
    const third = await startIngester(dir);
    await readAll(third);
    expect((await third.ingester.pin("a", signal)).heads).toEqual([]);
    expect(await storedSpans(third, "a")).toEqual(expected(ofA));
    const states = await third.ingester.states();
    expect(states.every(({ trimTo, durableEnd }) => trimTo === durableEnd)).toBe(true);
  });

  it("cuts at its bound of spans without being asked", async () => {
    const running = await startIngester(await makeFolder(), { cutSpans: 10 });
    const traces = Array.from({ length: 40 }, () => makeTrace(3));
    for (const { data } of traces) await append(running.spanLog, "t", data);
    await running.ingester.flush();
    expect(running.tables.get("t")!.snapshot.files.size).toBeGreaterThan(8);
    const expected = traces.flatMap(({ data }) => canonicalSpans(data)).sort();
    expect(await storedSpans(running, "t")).toEqual(expected);
  });
});
