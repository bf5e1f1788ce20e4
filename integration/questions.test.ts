/** Every question to heads, blocks and the test double, directly and through its encoding. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { headShard, TestSpans } from "#pkg/query/testing/spans.ts";
import { startIngester, TempFolder } from "#modules/ingester/ingester.testing.ts";
import { querierConfig } from "#modules/querier/config.ts";
import { Querier } from "#modules/querier/querier.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { headOf, putBlock } from "#pkg/engine/testing/spans.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import { checkErrors, checkQuestions, contractSpans } from "#pkg/questions/contract.testing.ts";
import { liveOverWire, storedOverWire } from "#pkg/questions/over-wire.ts";
import { openTable } from "#pkg/table/delta-table.ts";

const { signal } = new AbortController();
const partition = { index: 0, count: 1 };

describe("every question", () => {
  it("is answered by pinned heads on their threads", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path });
    try {
      await running.append("t", contractSpans);
      await running.readAll();
      for (const live of [running.ingester, liveOverWire(running.ingester)]) {
        const pinned = await live.pin("t", signal);
        const { heads } = pinned;
        expect(heads.length).toBeGreaterThan(1);
        await checkQuestions(live, heads);
        await checkErrors(live, heads[0]);
        pinned.release();
      }
    } finally {
      await running.stop();
    }
  });

  it("is answered by row groups of blocks on the querier's threads", async () => {
    const root = await mkdtemp(join(tmpdir(), "spoor-questions-"));
    const store = await openFsStore(root);
    const log = openLog("silent");
    const table = openTable({ store, tenant: "t", clock: systemClock, log });
    const files = await Promise.all(
      [0, 1].map(async (block) => {
        // Whole traces in each.
        const head = headOf(contractSpans.filter((_, i) => i % 2 === block));
        const path = `blocks/2023/11/14/b${block}.parquet`;
        return await putBlock(store, { tenant: "t", path, head, partition, rowGroupSpans: 12 });
      }),
    );
    const columns = [{ name: "start_unix_nano", type: "long" as const }];
    await table.commit({ add: files, columns, operation: "WRITE", dataChange: true });
    const querier = new Querier({
      config: querierConfig.parse({ threads: 1 }),
      store,
      storeConfig: { kind: "fs", root },
      tableOf: () => table,
      clock: systemClock,
      log,
      registry: new Registry(),
    });
    try {
      for (const stored of [querier, storedOverWire(querier)]) {
        const { blocks } = await stored.snapshot("t", 0, signal);
        const shards = blocks.flatMap((block) => block.shards);
        expect(shards.length).toBeGreaterThan(3);
        await checkQuestions(stored, shards);
        await checkErrors(stored, shards[0]);
      }
      const known = await querier.snapshot("t", 0, signal);
      expect(await storedOverWire(querier).snapshot("t", 0, signal)).toEqual(known);
    } finally {
      await querier.stop();
      await rm(root, { recursive: true });
    }
  });

  it("is answered by the test double", async () => {
    const spans = new TestSpans();
    const [inHead, inBlock] = [0, 1].map((n) => contractSpans.filter((_, i) => i % 2 === n));
    spans.heads = [headShard(inHead, { partition, appId: "a", toOffset: 1 })];
    await spans.addBlock("b", inBlock, { partition, rowGroupSpans: 12 });
    const { heads } = await spans.pin();
    const { blocks } = await spans.snapshot("t", 0);
    await checkQuestions(spans, [...heads, ...blocks.flatMap((block) => block.shards)]);
    await checkErrors(spans, heads[0]);
  });
});
