import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Registry } from "prom-client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#pkg/clock/clock.ts";
import { canonicalSpans } from "#pkg/columns/canonical.ts";
import { headOf, putBlock, type SpanSpec, traceDataOf } from "#pkg/engine/testing.ts";
import { openLog } from "#pkg/log/log.ts";
import { openFsStore } from "#pkg/objstore/fs.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { openTable, type Table } from "#pkg/table/table.ts";
import { querierConfig } from "./config.ts";
import { Querier } from "./querier.ts";

const log = openLog("silent");
const never = new AbortController().signal;
const partition = { index: 0, count: 1 };

let root: string;
let store: ObjectStore;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "spoor-querier-"));
  store = await openFsStore(root);
});

afterAll(async () => {
  await rm(root, { recursive: true });
});

function idOf(n: number): string {
  return n.toString(16).padStart(32, "0");
}

function spansOf(traces: number, spansPerTrace = 3): SpanSpec[] {
  return Array.from({ length: traces * spansPerTrace }, (_, i) => ({
    traceId: idOf(1 + Math.floor(i / spansPerTrace)),
    spanId: (i + 1).toString(16).padStart(16, "0"),
    service: `service-${i % 4}`,
    name: `span ${i}`,
    startNano: 1_700_000_000_000_000_000n + BigInt(i) * 1000n,
    endNano: 1_700_000_000_000_000_500n + BigInt(i) * 1000n,
  }));
}

function openQuerier(tenant: string): { querier: Querier; table: Table; registry: Registry } {
  const table = openTable({ store, tenant, clock: systemClock, log });
  const registry = new Registry();
  const querier = new Querier({
    config: querierConfig.parse({ snapshotAgeMaxMs: 0 }),
    store,
    storeConfig: { kind: "fs", root },
    tableOf: () => table,
    clock: systemClock,
    log,
    registry,
  });
  return { querier, table, registry };
}

async function addBlock(table: Table, name: string, specs: SpanSpec[]): Promise<void> {
  const path = `blocks/2023/11/14/${name}.parquet`;
  const { tenant } = table;
  const head = headOf(specs);
  const file = await putBlock(store, { tenant, path, head, partition, rowGroupSpans: 20 });
  const columns = [{ name: "start_unix_nano", type: "long" as const }];
  await table.commit({ add: [file], columns, operation: "WRITE", dataChange: true });
}

describe("Querier", () => {
  it("finds traces in blocks by worker threads", async () => {
    const { querier, table } = openQuerier("finds");
    const specs = spansOf(20);
    await addBlock(table, "a", specs);
    const { blocks } = await querier.snapshot("finds", -1, never);
    expect(blocks).toHaveLength(1);
    const [block] = blocks;
    expect(block.shards.length).toBeGreaterThan(1);
    const wanted = Buffer.from(idOf(7), "hex");
    expect(await block.mayHoldTrace(wanted, never)).toBe(true);
    const found = await block.findTrace(wanted, never);
    const expected = specs.filter(({ traceId }) => traceId === idOf(7));
    expect(canonicalSpans(decodeTraceData(found!))).toEqual(canonicalSpans(traceDataOf(expected)));
    expect(await block.findTrace(Buffer.from(idOf(99), "hex"), never)).toBeUndefined();
    await querier.stop();
  });
});
