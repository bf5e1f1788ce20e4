import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Registry } from "prom-client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RowGroupRef, StoredBlock } from "#pkg/questions/shards.ts";
import type { TagCounts, TagQuestion, TagsRequest } from "#pkg/api/tags.ts";
import { parseBlockTags } from "#pkg/block/block-file.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { headOf, putBlock, type SpanSpec } from "#pkg/engine/testing/spans.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { type BlockFile, openTable, type Table } from "#pkg/table/delta-table.ts";
import { parseLeniently } from "#pkg/traceql/traceql.ts";
import { querierConfig } from "./config.ts";
import { Querier } from "./querier.ts";

const never = new AbortController().signal;
const log = openLog("silent");
const base = 1_700_000_000_000_000_000n;
const second = 1_000_000_000n;
const blocks = 3;
const spansPerBlock = 3000;
const rowGroupSpans = 1500;

let root: string;
let store: ObjectStore;
let table: Table;
let querier: Querier;
const files: BlockFile[] = [];

/** Each span has an order of its own: more than an index lists. */
function specsOf(block: number): SpanSpec[] {
  return Array.from({ length: spansPerBlock }, (_, i) => {
    const number = block * spansPerBlock + i;
    const startNano = base + BigInt(number) * second;
    return {
      traceId: (1 + Math.floor(number / 3)).toString(16).padStart(32, "0"),
      spanId: (number + 1).toString(16).padStart(16, "0"),
      service: `service-${block}`,
      name: `op ${i % 2}`,
      startNano,
      endNano: startNano + 5n,
      attributes: { order: `o-${number}`, code: BigInt(i % 5) },
    };
  });
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "spoor-querier-tags-"));
  store = await openFsStore(root);
  table = openTable({ store, tenant: "t", clock: systemClock, log });
  for (let block = 0; block < blocks; block++) {
    const path = `blocks/2023/11/14/b${block}.parquet`;
    const partition = { index: 0, count: 1 };
    const head = headOf(specsOf(block));
    files.push(await putBlock(store, { tenant: "t", path, head, partition, rowGroupSpans }));
  }
  const columns = [{ name: "start_unix_nano", type: "long" as const }];
  await table.commit({ add: files, columns, operation: "WRITE", dataChange: true });
  querier = new Querier({
    config: querierConfig.parse({ snapshotAgeMaxMs: 0 }),
    store,
    storeConfig: { kind: "fs", root },
    tableOf: () => table,
    clock: systemClock,
    log,
    registry: new Registry(),
  });
});

afterAll(async () => {
  await querier.stop();
  await rm(root, { recursive: true });
});

async function stored(): Promise<StoredBlock[]> {
  const snapshot = await querier.snapshot("t", -1, never);
  return snapshot.blocks.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

async function countTags(
  shard: RowGroupRef,
  asked: TagsRequest,
): Promise<{ counts: TagCounts; readBytes: number }> {
  const asks = [{ shard, request: asked }];
  const { outcomes, readBytes } = await querier.ask("countTags", asks, never);
  const [outcome] = outcomes;
  if ("error" in outcome) throw outcome.error;
  return { counts: outcome.answer, readBytes };
}

function values(name: string, scope: "span" | "resource" = "span"): TagQuestion {
  return { kind: "values", references: [{ kind: "attribute", scope, name }] };
}

function request(question: TagQuestion, more: Partial<TagsRequest> = {}): TagsRequest {
  return { question, startNano: 0n, endNano: 2n ** 62n, bytesMax: 1e8, ...more };
}

function told({ groups }: Pick<TagCounts, "groups">): Record<string, number> {
  const all = groups.flatMap(({ kind, texts, counts }) =>
    texts.map((text, i) => [`${kind} ${text}`, counts[i]] as const),
  );
  return Object.fromEntries(all);
}

describe("tags of stored blocks", () => {
  it("come from indexes alone, several blocks in one job", async () => {
    const found = await querier.indexedTags(
      await stored(),
      request(values("service.name", "resource")),
      never,
    );
    expect(told(found)).toEqual({
      "string service-0": 3000,
      "string service-1": 3000,
      "string service-2": 3000,
    });
    expect([found.unread, found.failed, found.inspectedSpans]).toEqual([[], [], 0]);
    const indexBytes = files.map((file) => {
      const { indexOffset, footerOffset } = parseBlockTags(file);
      return Math.min(footerOffset - indexOffset, 32 * 1024);
    });
    expect(found.readBytes).toBe(indexBytes.reduce((a, b) => a + b));
    // What was opened stays open; what was decoded is not read again.
    const again = await querier.indexedTags(await stored(), request(values("code")), never);
    expect(told(again)).toEqual({
      "int 0": 1800,
      "int 1": 1800,
      "int 2": 1800,
      "int 3": 1800,
      "int 4": 1800,
    });
  });

  it("are names by scope with their counts", async () => {
    const question: TagQuestion = { kind: "names", scopes: ["span", "resource", "event"] };
    expect(told(await querier.indexedTags(await stored(), request(question), never))).toEqual({
      "span order": 9000,
      "span code": 9000,
      "resource service.name": 9000,
    });
  });

  it("of row groups out of the range do not count", async () => {
    const startNano = base + BigInt(spansPerBlock + 1600) * second;
    const found = await querier.indexedTags(
      await stored(),
      request(values("service.name", "resource"), { startNano }),
      never,
    );
    expect(told(found)).toEqual({ "string service-1": 1500, "string service-2": 3000 });
    const late = request(values("code"), { startNano: 2n ** 61n });
    expect(told(await querier.indexedTags(await stored(), late, never))).toEqual({});
  });

  it("that an index does not list are asked of the row groups", async () => {
    const all = await stored();
    const found = await querier.indexedTags(all, request(values("order")), never);
    expect(told(found)).toEqual({});
    expect(found.unread.map(({ shard }) => shard.name)).toHaveLength(6);
    const { shard, question } = found.unread[3];
    const { counts: counted, readBytes } = await countTags(shard, request(question));
    expect(Object.keys(told(counted))).toHaveLength(rowGroupSpans);
    expect(counted.inspectedSpans).toBe(rowGroupSpans);
    expect(readBytes).toBeGreaterThan(0);
    expect(readBytes).toBeLessThan(files[0].sizeBytes / 3);
  });

  it("of matching spans are counted; row groups without any are not read", async () => {
    const shards = (await stored()).flatMap((block) => block.shards);
    const { filter } = parseLeniently('{ resource.service.name = "service-1" && span.code = 3 }');
    const found = await Promise.all(
      shards.map(async (shard) => {
        return (await countTags(shard, request(values("code"), { filter }))).counts;
      }),
    );
    expect(found.map(told)).toEqual([{}, {}, { "int 3": 300 }, { "int 3": 300 }, {}, {}]);
    expect(found.map(({ inspectedSpans }) => inspectedSpans)).toEqual([0, 0, 1500, 1500, 0, 0]);
    const impossible = parseLeniently("{ !span.order }").filter;
    await expect(
      countTags(shards[0], request(values("code"), { filter: impossible })),
    ).rejects.toMatchObject({ reason: "traceql_value" });
    const { counts: nothing } = await countTags(shards[0], request(values("nothing"), { filter }));
    expect([nothing.inspectedSpans, nothing.groups]).toEqual([0, []]);
  });

  it("of a block whose index is damaged are missing, the others answer", async () => {
    const key = `t/${files[1].path}`;
    const whole = await store.get(key);
    const bytes = Uint8Array.from(whole);
    const { footerOffset } = parseBlockTags(files[1]);
    bytes[footerOffset - 60] ^= 1;
    await store.put(key, bytes);
    const fresh = new Querier({
      config: querierConfig.parse({ snapshotAgeMaxMs: 0 }),
      store,
      storeConfig: { kind: "fs", root },
      tableOf: () => table,
      clock: systemClock,
      log,
      registry: new Registry(),
    });
    try {
      const { blocks: damaged } = await fresh.snapshot("t", -1, never);
      const found = await fresh.indexedTags(
        damaged,
        request(values("service.name", "resource")),
        never,
      );
      expect(told(found)).toEqual({ "string service-0": 3000, "string service-2": 3000 });
      expect(found.failed.map(({ path }) => path)).toEqual([files[1].path]);
      expect(found.failed[0].error.code).toBe("Corrupt");
      expect(found.failed[0].error.message).toContain("checksum of index directory");
    } finally {
      await fresh.stop();
      await store.put(key, whole);
    }
  });
});
