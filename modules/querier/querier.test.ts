import { planQuery } from "#pkg/engine/condition/plan.ts";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Registry } from "prom-client";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { TraceDetails } from "#pkg/api/query.ts";
import type { AnswerOf, QuestionName, RequestOf } from "#pkg/questions/question-table.ts";
import type { RowGroupRef, StoredBlock } from "#pkg/questions/shards.ts";
import { parseBlockTags } from "#pkg/block/block-file.ts";
import { openBlock } from "#pkg/block/reader.ts";
import { type Clock, systemClock } from "#pkg/clock/clock.ts";
import { canonicalSpans } from "#pkg/columns/canonical.ts";
import {
  batchOfHead,
  headOf,
  putBlock,
  type SpanSpec,
  traceDataOf,
} from "#pkg/engine/testing/spans.ts";
import { listTraces } from "#pkg/engine/trace/list-traces.ts";
import { traceDetails } from "#pkg/engine/trace/traces.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { type CountedStore, countStore } from "#pkg/objstore/wrap/count.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { type BlockFile, openTable, type Table } from "#pkg/table/delta-table.ts";
import { type FieldExpr, parseQuery } from "#pkg/traceql/traceql.ts";
import { type QuerierConfig, querierConfig } from "./config.ts";
import { forgeBlock } from "./forge.testing.ts";
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

const base = 1_700_000_000_000_000_000n;

function bytesOf(n: number): Uint8Array {
  return Buffer.from(idOf(n), "hex");
}

function idOf(n: number): string {
  return n.toString(16).padStart(32, "0");
}

function spansOf(traces: number, spansPerTrace = 3): SpanSpec[] {
  return Array.from({ length: traces * spansPerTrace }, (_, i) => ({
    traceId: idOf(1 + Math.floor(i / spansPerTrace)),
    spanId: (i + 1).toString(16).padStart(16, "0"),
    service: `service-${i % 4}`,
    name: `span ${i}`,
    startNano: base + BigInt(i) * 1000n,
    endNano: base + BigInt(i) * 1000n + 500n,
  }));
}

interface Rig {
  querier: Querier;
  table: Table;
  registry: Registry;
  reads: CountedStore;
}

function openQuerier(
  tenant: string,
  config: Partial<QuerierConfig> = {},
  clock: Clock = systemClock,
): Rig {
  const reads = countStore(store);
  const table = openTable({ store: reads, tenant, clock, log });
  const registry = new Registry();
  const querier = new Querier({
    config: querierConfig.parse({ snapshotAgeMaxMs: 0, ...config }),
    store: reads,
    storeConfig: { kind: "fs", root },
    tableOf: () => table,
    clock,
    log,
    registry,
  });
  open.push(querier);
  return { querier, table, registry, reads };
}

const open: Querier[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((querier) => querier.stop()));
});

const columns = [{ name: "start_unix_nano", type: "long" as const }];

async function makeBlock(tenant: string, name: string, specs: SpanSpec[]): Promise<BlockFile> {
  const path = `blocks/2023/11/14/${name}.parquet`;
  return await putBlock(store, { tenant, path, head: headOf(specs), partition, rowGroupSpans: 20 });
}

async function addBlock(table: Table, name: string, specs: SpanSpec[]): Promise<BlockFile> {
  const file = await makeBlock(table.tenant, name, specs);
  await table.commit({ add: [file], columns, operation: "WRITE", dataChange: true });
  return file;
}

/** Changes the stored block's body so that only who decodes it can notice; returns its commit. */
async function forge(
  tenant: string,
  made: BlockFile,
  change: (body: Buffer) => void,
): Promise<BlockFile> {
  const key = `${tenant}/${made.path}`;
  const forged = forgeBlock(await store.get(key), change);
  await store.put(key, forged);
  const [indexOffset, footerOffset] = made.tags["spoor.index"].split(",").map(Number);
  const moved = footerOffset + forged.length - made.sizeBytes;
  const tags = { ...made.tags, "spoor.index": `${indexOffset},${moved}` };
  return { ...made, tags, sizeBytes: forged.length };
}

async function count(registry: Registry, name: string, label: string): Promise<number> {
  const metric = await registry.getSingleMetric(name)!.get();
  const found = metric.values.find(({ labels }) => Object.values(labels).includes(label));
  return found?.value ?? 0;
}

function filterOf(text: string): FieldExpr {
  const { body } = parseQuery(text);
  const [stage] = body.kind === "pipeline" ? body.stages : [];
  if (stage?.kind !== "filter") throw new Error(`not one filter: ${text}`);
  return stage.expr;
}

/** Asks one row group alone; returns its answer and cost. Throws the outcome's error. */
async function askOne<K extends QuestionName>(
  querier: Querier,
  question: K,
  { shard, request }: { shard: RowGroupRef; request: RequestOf<K> },
): Promise<{ answer: AnswerOf<K>; isPruned?: boolean; readBytes: number }> {
  const { outcomes, readBytes } = await querier.ask(question, [{ shard, request }], never);
  const [outcome] = outcomes;
  if ("error" in outcome) throw outcome.error;
  return { ...outcome, readBytes };
}

/** All spans of a trace in a block. */
async function findIn(
  querier: Querier,
  { shards }: StoredBlock,
  traceId: Uint8Array,
): Promise<Uint8Array | undefined> {
  const asks = shards.map((shard) => ({ shard, request: { traceId } }));
  const { outcomes } = await querier.ask("trace", asks, never);
  const found = outcomes.flatMap((outcome) => {
    if ("error" in outcome) throw outcome.error;
    return outcome.answer;
  });
  return found.at(0);
}

async function mayHold(querier: Querier, { ref }: StoredBlock, id: Uint8Array): Promise<boolean> {
  return (await querier.mayHold(ref, id, never))[0] === 1;
}

describe("Querier", () => {
  it("answers as the head does from which the block was cut", async () => {
    const { querier, table } = openQuerier("same");
    const specs = spansOf(20);
    await addBlock(table, "a", specs);
    const { blocks, failed, version } = await querier.snapshot("same", 0, never);
    expect([blocks.length, failed.length, version]).toEqual([1, 0, 0]);
    const [block] = blocks;
    expect(block.shards).toHaveLength(4);
    const head = batchOfHead(headOf(specs));
    const range = { startNano: base + 10_000n, endNano: base + 40_000n };
    const ids = Buffer.concat(specs.map(({ traceId }) => Buffer.from(traceId, "hex")));
    const lists = await Promise.all(
      block.shards.map(async (shard) => {
        return await askOne(querier, "list", { shard, request: { ...range, limit: 100 } });
      }),
    );
    const asked = { ...range, ids, spansPerTrace: 2 };
    const details = await Promise.all(
      block.shards.map(async (shard) => {
        return (await askOne(querier, "details", { shard, request: asked })).answer;
      }),
    );
    const expected = listTraces(head, { ...range, limit: 100 });
    const newestFirst = lists.map(({ answer }) => answer).toReversed();
    expect(Buffer.concat(newestFirst.map((list) => list.ids))).toEqual(Buffer.from(expected.ids));
    expect(newestFirst.flatMap((list) => [...list.startNanos])).toEqual([...expected.startNanos]);
    expect(lists.every(({ readBytes }) => readBytes > 0)).toBe(true);
    const byId = (a: TraceDetails, b: TraceDetails): number => (a.traceId < b.traceId ? -1 : 1);
    expect(details.flatMap(({ traces }) => traces).sort(byId)).toEqual(
      traceDetails(head, { ...range, ids, spansPerTrace: 2 }).sort(byId),
    );
  });

  it("reads no row of a row group whose tag index shows that nothing matches", async () => {
    const { querier, table } = openQuerier("prunes");
    const specs = spansOf(20).map((spec, i) => ({ ...spec, attributes: { order: `o-${i}` } }));
    await addBlock(table, "a", specs);
    const [block] = (await querier.snapshot("prunes", 0, never)).blocks;
    const range = { startNano: base, endNano: base + 1_000_000n, limit: 100 };
    const inspected = async (text: string): Promise<number[]> => {
      const plan = planQuery(filterOf(text));
      const lists = await Promise.all(
        block.shards.map(async (shard) => {
          return await askOne(querier, "list", { shard, request: { ...range, plan } });
        }),
      );
      for (const { answer, readBytes, isPruned } of lists) {
        expect(isPruned ?? false).toBe(answer.inspectedSpans === 0);
        if (answer.inspectedSpans > 0) expect(readBytes).toBeGreaterThan(0);
      }
      return lists.map(({ answer }) => answer.inspectedSpans);
    };
    expect(await inspected('{ resource.service.name = "none" }')).toEqual([0, 0, 0, 0]);
    expect(await inspected("{ duration > 1h || span.order = 5 }")).toEqual([0, 0, 0, 0]);
    expect(await inspected('{ name = "span 59" && status != error }')).toEqual([0, 0, 0, 6]);
    expect(await inspected('{ .order =~ "o-2." }')).toEqual([0, 18, 0, 0]);
    expect(await inspected('{ resource.service.name =~ "service-[01]" }')).toEqual([18, 18, 18, 6]);
  });

  it("shows matching spans with what the filter names", async () => {
    const { querier, table } = openQuerier("filters");
    const specs = spansOf(20).map((spec, i) => ({ ...spec, attributes: { order: `o-${i}` } }));
    await addBlock(table, "a", specs);
    const [block] = (await querier.snapshot("filters", 0, never)).blocks;
    const plan = planQuery(filterOf('{ resource.service.name = "service-1" && .order != nil }'));
    const request = { startNano: base, endNano: base + 1_000_000n, ids: bytesOf(2), plan };
    const [shard] = block.shards;
    const { answer, readBytes } = await askOne(querier, "details", {
      shard,
      request: { ...request, spansPerTrace: 3 },
    });
    expect(readBytes).toBeGreaterThan(0);
    const [found] = answer.traces;
    expect(found).toMatchObject({
      startNano: base + 3000n,
      matchedSpans: 1,
      services: { "service-0": {}, "service-1": {}, "service-3": {} },
      spans: [
        {
          name: "span 5",
          attributes: [
            { key: "service.name", value: "service-1" },
            { key: "order", value: "o-5" },
          ],
        },
      ],
    });
    expect(found.fingerprints).toHaveLength(3);
  });

  it("tells of a filter that cannot be evaluated", async () => {
    const { querier, table } = openQuerier("impossible");
    await addBlock(table, "a", spansOf(20));
    const [block] = (await querier.snapshot("impossible", 0, never)).blocks;
    const request = { startNano: base, endNano: base + 1_000_000n, limit: 5 };
    const plan = planQuery(filterOf("{ !resource.service.name }"));
    const [shard] = block.shards;
    const asked = { shard, request: { ...request, plan } };
    await expect(askOne(querier, "list", asked)).rejects.toMatchObject({
      code: "InvalidInput",
      reason: "traceql_value",
      message: "evaluate TraceQL: negate a string with !: it needs a boolean",
    });
    const { answer } = await askOne(querier, "list", { shard, request });
    expect(answer.startNanos).toHaveLength(5);
  });

  it("finds a trace, whole, in a block or in one of its row groups", async () => {
    const { querier, table } = openQuerier("finds");
    const specs = spansOf(20);
    await addBlock(table, "a", specs);
    const [block] = (await querier.snapshot("finds", -1, never)).blocks;
    const expected = canonicalSpans(
      traceDataOf(specs.filter(({ traceId }) => traceId === idOf(9))),
    );
    const found = await findIn(querier, block, bytesOf(9));
    expect(canonicalSpans(decodeTraceData(found!))).toEqual(expected);
    const pieces = await Promise.all(
      block.shards.map(async (shard) => {
        return (await askOne(querier, "trace", { shard, request: { traceId: bytesOf(9) } })).answer;
      }),
    );
    const inGroups = pieces.flat();
    expect(inGroups).toHaveLength(1);
    expect(canonicalSpans(decodeTraceData(inGroups[0]))).toEqual(expected);
    expect(await findIn(querier, block, bytesOf(999))).toBeUndefined();
  });

  it("looks into the bloom filter with one read, and then with none", async () => {
    const { querier, table, reads } = openQuerier("bloom");
    await addBlock(table, "a", spansOf(20));
    const [block] = (await querier.snapshot("bloom", -1, never)).blocks;
    const before = reads.counts.getRange.requests;
    expect(await mayHold(querier, block, bytesOf(7))).toBe(true);
    expect(reads.counts.getRange.requests - before).toBe(1);
    let hits = 0;
    for (let n = 1000; n < 2000; n++) if (await mayHold(querier, block, bytesOf(n))) hits++;
    expect(hits).toBeLessThan(60);
    expect(reads.counts.getRange.requests - before).toBe(1);
  });

  it("asks the block when its bloom filter is broken", async () => {
    const { querier, table, registry } = openQuerier("bad-bloom");
    const file = await addBlock(table, "a", spansOf(20));
    const { bloom } = parseBlockTags(file);
    const key = `bad-bloom/${file.path}`;
    const bytes = await store.get(key);
    bytes[bloom.offset] ^= 1;
    await store.put(key, bytes);
    const [block] = (await querier.snapshot("bad-bloom", -1, never)).blocks;
    expect(await mayHold(querier, block, bytesOf(999_999))).toBe(true);
    expect(await count(registry, "spoor_querier_bloom_reads_total", "failed")).toBe(1);
  });

  it("says which block is corrupt; the others answer", async () => {
    const { querier, table } = openQuerier("corrupt");
    const bad = await addBlock(table, "bad", spansOf(5));
    await addBlock(table, "good", spansOf(5));
    const key = `corrupt/${bad.path}`;
    const bytes = await store.get(key);
    bytes[100] ^= 1;
    await store.put(key, bytes);
    const { blocks } = await querier.snapshot("corrupt", -1, never);
    const [broken, whole] = blocks.toSorted((a) => (a.path === bad.path ? -1 : 1));
    const error: unknown = await findIn(querier, broken, bytesOf(1)).catch((thrown) => thrown);
    expect(error).toMatchObject({ code: "Corrupt" });
    expect(String(error)).toContain(bad.path);
    expect(await findIn(querier, whole, bytesOf(1))).toBeDefined();
  });

  it("survives a panic of the Parquet reader", async () => {
    const { querier, table, registry } = openQuerier("panic", { threads: 1 });
    await addBlock(table, "good", spansOf(5));
    const made = await makeBlock("panic", "bad", spansOf(5));
    // The first page's header: a kind of page that is left to the library, and lengths that it
    // believes (thrift: type 3, two sizes of 2^30 and more).
    const sizes = [0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f];
    const header = Buffer.from([0x15, 0x06, ...sizes, ...sizes, 0]);
    const bad = await forge("panic", made, (body) => header.copy(body, 4));
    await table.commit({ add: [bad], columns, operation: "WRITE", dataChange: true });
    const { blocks } = await querier.snapshot("panic", -1, never);
    await addBlock(table, "other", spansOf(5));
    const three = (await querier.snapshot("panic", -1, never)).blocks;
    const range = { startNano: base, endNano: base + 1_000_000n };
    const request = { ...range, ids: bytesOf(1), spansPerTrace: 1 };
    const asks = three.map(({ shards: [shard] }) => ({ shard, request }));
    const { outcomes } = await querier.ask("details", asks, never);
    outcomes.forEach((outcome, i) => {
      const error = { code: "Corrupt", message: expect.stringContaining(bad.path) };
      const answer = { traces: [{ traceId: idOf(1) }] };
      expect(outcome).toMatchObject(three[i].path === bad.path ? { error } : { answer });
    });
    const replacedBefore = await count(registry, "spoor_querier_workers_replaced_total", "panic");
    expect(replacedBefore).toBeGreaterThan(0);
    const [broken, whole] = blocks.toSorted((a) => (a.path === bad.path ? -1 : 1));
    for (let round = 1; round <= 3; round++) {
      const error: unknown = await findIn(querier, broken, bytesOf(1)).catch((thrown) => thrown);
      expect(error).toMatchObject({ code: "Corrupt", reason: "panic" });
      expect(String(error)).toContain(bad.path);
      expect(await findIn(querier, whole, bytesOf(1))).toBeDefined();
      expect(await count(registry, "spoor_querier_workers_replaced_total", "panic")).toBe(
        replacedBefore + round,
      );
    }
  });

  it("returns equal answers for row groups in one job and in separate jobs", async () => {
    const { querier, table, registry } = openQuerier("together", { threads: 1, openBlocksMax: 2 });
    for (const name of ["a", "b", "c"]) await addBlock(table, name, spansOf(20));
    const { blocks } = await querier.snapshot("together", -1, never);
    const shards = blocks.flatMap((block) => block.shards);
    expect(shards).toHaveLength(12);
    const sizes = shards.map(({ sizeBytes }) => sizeBytes);
    const blockBytes = blocks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeGreaterThanOrEqual(blockBytes);
    const range = { startNano: base + 10_000n, endNano: base + 40_000n };
    const filter = filterOf('{ resource.service.name = "service-1" }');
    const ids = Buffer.concat([bytesOf(4), bytesOf(9), bytesOf(999)]);
    const requests = {
      list: { ...range, limit: 3, plan: planQuery(filter) },
      details: { ...range, ids, spansPerTrace: 2, plan: planQuery(filter) },
      held: { ids },
      countTags: { ...range, question: { kind: "names", scopes: ["resource"] }, bytesMax: 1e6 },
    } as const;
    const check = async <K extends QuestionName>(
      question: K,
      request: RequestOf<K>,
    ): Promise<void> => {
      const asks = shards.map((shard) => ({ shard, request }));
      const { outcomes, readBytes } = await querier.ask(question, asks, never);
      const alone = await Promise.all(asks.map((ask) => querier.ask(question, [ask], never)));
      expect(outcomes).toEqual(alone.flatMap((one) => one.outcomes));
      expect(readBytes).toBeGreaterThan(0);
    };
    await check("list", requests.list);
    await check("held", requests.held);
    await check("details", requests.details);
    await check("countTags", requests.countTags);
    const jobs = await registry.getSingleMetric("spoor_querier_jobs_total")!.get();
    expect(jobs.values.map(({ value }) => value)).toEqual([13, 13, 13, 13]);
  });

  it("names the one of many row groups that cannot be read", async () => {
    const { querier, table, registry } = openQuerier("one-of-many");
    const [first, bad, gone, last] = await Promise.all(
      ["1", "2", "3", "4"].map((name) => makeBlock("one-of-many", name, spansOf(5))),
    );
    const add = [first, bad, gone, last];
    await table.commit({ add, columns, operation: "WRITE", dataChange: true });
    const bytes = await store.get(`one-of-many/${bad.path}`);
    bytes[100] ^= 1;
    await store.put(`one-of-many/${bad.path}`, bytes);
    await store.delete(`one-of-many/${gone.path}`);
    const { blocks } = await querier.snapshot("one-of-many", -1, never);
    const asks = add.map(({ path }) => {
      const [shard] = blocks.find((block) => block.path === path)!.shards;
      const range = { startNano: base, endNano: base + 1_000_000n };
      return { shard, request: { ...range, ids: bytesOf(2), spansPerTrace: 1 } };
    });
    const { outcomes } = await querier.ask("details", asks, never);
    expect(outcomes).toMatchObject([
      { answer: { traces: [{ traceId: idOf(2) }] } },
      { error: { code: "Corrupt", message: expect.stringContaining(bad.path) } },
      { error: { code: "NotFound", message: expect.stringContaining(gone.path) } },
      { answer: { traces: [{ traceId: idOf(2) }] } },
    ]);
    const failures = "spoor_querier_row_group_failures_total";
    expect(await count(registry, failures, "Corrupt")).toBe(1);
    expect(await count(registry, failures, "NotFound")).toBe(1);
    expect(await count(registry, "spoor_querier_jobs_total", "ok")).toBe(1);
  });

  it("replaces a thread whose memory has grown, after its answer", async () => {
    const { querier, table, registry } = openQuerier("memory", {
      threads: 1,
      threadMemoryBytesMax: 1,
    });
    const own = await addBlock(table, "own", spansOf(5));
    const made = await makeBlock("memory", "other", spansOf(5));
    const place = { store, key: `memory/${made.path}`, sizeBytes: made.sizeBytes };
    const { rowGroups } = await openBlock(place);
    const chunk = rowGroups[0].columns.find(({ name }) => name === "trace_id")!;
    // Another encoding of the definition levels than our own is left to the library.
    const bothRle = Buffer.from([0x15, 0x06, 0x15, 0x06]);
    const other = await forge("memory", made, (body) => {
      body[body.indexOf(bothRle, chunk.dataStart) + 1] = 0x08;
    });
    await table.commit({ add: [other], columns, operation: "WRITE", dataChange: true });
    const { blocks } = await querier.snapshot("memory", -1, never);
    const blockOf = (file: BlockFile): StoredBlock =>
      blocks.find(({ path }) => path === file.path)!;
    const replaced = (): Promise<number> =>
      count(registry, "spoor_querier_workers_replaced_total", "memory");
    for (let round = 1; round <= 3; round++) {
      // What Spoor wrote itself takes none of that memory.
      expect(await findIn(querier, blockOf(own), bytesOf(2))).toBeDefined();
      expect(await replaced()).toBe(round - 1);
      // What the library makes of such levels does not matter.
      await findIn(querier, blockOf(other), bytesOf(2));
      expect(await replaced()).toBe(round);
    }
    expect(await count(registry, "spoor_querier_workers_replaced_total", "panic")).toBe(0);
  });

  it("reports a block whose commit cannot be read, and reads the others", async () => {
    const { querier, table, registry } = openQuerier("tags");
    const good = await addBlock(table, "good", spansOf(3));
    const broken: [string, Record<string, string>][] = [
      ["no-tags", {}],
      ["partition", { ...good.tags, "spoor.partition": "3/3" }],
      ["range", { ...good.tags, "spoor.partition": "4/4" }],
      ["bloom", { ...good.tags, "spoor.bloom": "4,1,800000000,7,1" }],
      ["newer", { ...good.tags, "spoor.version": "2" }],
    ];
    const add = broken.map(([name, tags]) => ({ ...good, path: `blocks/${name}`, tags }));
    await table.commit({ add, columns, operation: "WRITE", dataChange: true });
    const snapshot = await querier.snapshot("tags", -1, never);
    expect(snapshot.blocks.map(({ path }) => path)).toEqual([good.path]);
    expect(snapshot.failed.map(({ path }) => path).sort()).toEqual(
      broken.map(([name]) => `blocks/${name}`).sort(),
    );
    for (const { path, message } of snapshot.failed) expect(message).toContain(path);
    await querier.snapshot("tags", -1, never);
    const counted = await registry.getSingleMetric("spoor_querier_failed_blocks_total")!.get();
    expect(counted.values.reduce((sum, { value }) => sum + value, 0)).toBe(broken.length);
  });

  it.each([{ openBlocksMax: 1 }, { openBlockBytes: 1 }])(
    "goes to and fro between more blocks than it may keep open: %j",
    async (config) => {
      const tenant = `many-${Object.keys(config)[0]}`;
      const { querier, table } = openQuerier(tenant, { threads: 1, ...config });
      for (const name of ["a", "b", "c"]) await addBlock(table, name, spansOf(3));
      const { blocks } = await querier.snapshot(tenant, -1, never);
      for (const block of [...blocks, ...blocks, blocks[2]]) {
        expect(await findIn(querier, block, bytesOf(2))).toBeDefined();
      }
    },
  );

  it.each([
    ["another partition", "spoor.partition", "1/2"],
    ["other times", "spoor.row_groups", undefined],
  ])(
    "notices a commit that gives a block %s, and says so from then on",
    async (_what, tag, text) => {
      const tenant = `mismatch-${tag.slice(6, 9)}`;
      const { querier, table } = openQuerier(tenant);
      const file = await makeBlock(tenant, "a", spansOf(5));
      const later = file.tags[tag].replaceAll(/\d{19}/g, (nano) => String(BigInt(nano) + 5n));
      const add = [{ ...file, tags: { ...file.tags, [tag]: text ?? later } }];
      await table.commit({ add, columns, operation: "WRITE", dataChange: true });
      const { blocks, failed } = await querier.snapshot(tenant, 0, never);
      expect(failed).toEqual([]);
      const [shard] = blocks[0].shards;
      const request = { startNano: base, endNano: base + 9n ** 9n, limit: 9 };
      await expect(askOne(querier, "list", { shard, request })).rejects.toMatchObject({
        code: "Corrupt",
        reason: "commit_mismatch",
      });
      const after = await querier.snapshot(tenant, 0, never);
      expect(after.blocks).toEqual([]);
      expect(after.failed.map(({ path }) => path)).toEqual([file.path]);
      expect(after.failed[0].message).toContain("its commit does not match");
    },
  );

  it("says NotFound when a block is gone", async () => {
    const { querier, table } = openQuerier("gone");
    const { path } = await addBlock(table, "a", spansOf(3));
    const [block] = (await querier.snapshot("gone", -1, never)).blocks;
    await store.delete(`gone/${path}`);
    expect(await mayHold(querier, block, bytesOf(1))).toBe(true);
    await expect(findIn(querier, block, bytesOf(1))).rejects.toMatchObject({ code: "NotFound" });
  });

  it("shows what others commit, at the latest after the age limit or when it is asked for", async () => {
    const clock = { ...systemClock, nowMs: () => wallMs, monotonicMs: () => nowMs };
    let nowMs = 1000;
    let wallMs = 1_700_000_000_000;
    const { querier, table, reads } = openQuerier("ages", { snapshotAgeMaxMs: 1000 }, clock);
    await addBlock(table, "a", spansOf(3));
    const versions = async (minVersion = -1): Promise<number> =>
      (await querier.snapshot("ages", minVersion, never)).version;
    expect(await versions()).toBe(0);
    const other = openTable({ store, tenant: "ages", clock: systemClock, log });
    await addBlock(other, "b", spansOf(3));
    const before = reads.counts.list.requests;
    expect(await versions()).toBe(0);
    expect(reads.counts.list.requests).toBe(before);
    expect(await versions(1)).toBe(1);
    await addBlock(other, "c", spansOf(3));
    expect(await versions()).toBe(1);
    nowMs += 1000;
    expect(await versions()).toBe(2);
    // A wall clock that goes back does not keep old snapshots alive, nor does one that goes
    // forward end them.
    await addBlock(other, "d", spansOf(3));
    wallMs -= 7_200_000;
    nowMs += 999;
    expect(await versions()).toBe(2);
    wallMs += 14_400_000;
    expect(await versions()).toBe(2);
    nowMs += 1;
    expect(await versions()).toBe(3);
    await expect(versions(9)).rejects.toMatchObject({ reason: "snapshot_behind" });
  });

  it("has no blocks for a tenant without a table", async () => {
    const { querier } = openQuerier("nobody");
    expect(await querier.snapshot("nobody", -1, never)).toMatchObject({ version: -1, blocks: [] });
  });
});
