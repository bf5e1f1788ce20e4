import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type SpanSpec, traceDataOf } from "#pkg/engine/testing/spans.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { IngesterConfig } from "./config.ts";
import { cutterDied, encodeFailed, type Reason } from "#pkg/errors/reasons.ts";
import { Cutter } from "./cutter.ts";
import type { CutResult, CutTask } from "./messages.ts";
import {
  eventually,
  expected,
  makeTrace,
  startIngester,
  TempFolder,
  type TestIngester,
} from "./ingester.testing.ts";

/** A cutter that fails for ranges with one of these records, as if they could not be encoded. */
class PoisonedCutter extends Cutter {
  /** `<tenant> <partition> <offset>`. */
  readonly poison: Set<string> = new Set();
  reason: Reason = encodeFailed;
  failures = 0;

  override async cut(task: CutTask): Promise<CutResult> {
    const { tenant, fromOffset, toOffset } = task.range;
    for (let offset = fromOffset; offset < toOffset; offset++) {
      if (!this.poison.has(`${tenant} ${task.partition.index} ${offset}`)) continue;
      this.failures++;
      const code = this.reason === encodeFailed ? "Internal" : "Unavailable";
      throw new SpoorError(code, "this test cannot encode that", { reason: this.reason });
    }
    return await super.cut(task);
  }
}

async function startPoisoned(
  dir: string,
  config: Partial<IngesterConfig> = {},
): Promise<{ running: TestIngester; cutter: PoisonedCutter }> {
  const made: PoisonedCutter[] = [];
  const running = await startIngester({
    dir,
    config,
    cutter: (_, startThread) => {
      const bounds = { threadsMax: 1, idleMs: 60_000, wasmBytesMax: 2 ** 30 };
      const cutter = new PoisonedCutter({ ...bounds, startThread });
      made.push(cutter);
      return cutter;
    },
  });
  return { running, cutter: made[0] };
}

/** Appends one record; returns its offset. */
async function appendOne(
  { spanLog }: TestIngester,
  tenant: string,
  record: SpanSpec[] | Uint8Array,
): Promise<number> {
  const bytes = record instanceof Uint8Array ? record : encodeTraceData(traceDataOf(record));
  return (await spanLog.append(0, tenant, bytes)).offset;
}

const garbage: Uint8Array = Uint8Array.of(0x0a, 0x7f, 1, 2, 3);

describe("records that cannot be encoded", () => {
  it.each([
    [1, 0],
    [2, 1],
    [9, 4],
    [16, 0],
    [16, 15],
    [17, 8],
  ])("of %i records number %i alone is set aside", async (count, bad) => {
    await using folder = await TempFolder.make();
    const { running, cutter } = await startPoisoned(folder.path);
    const records = Array.from({ length: count }, () => makeTrace(2, { partition: 0 }));
    for (const [i, record] of records.entries()) {
      const offset = await appendOne(running, "t", record);
      if (i === bad) cutter.poison.add(`t 0 ${offset}`);
    }
    await running.ingester.flush();
    const good = records.filter((_, i) => i !== bad);
    expect(await running.stored("t")).toEqual(expected(...good));
    const quarantined = await running.quarantined("t");
    expect([...quarantined.keys()]).toEqual([
      `${running.appId(0).replaceAll("/", "-")}-${bad}.otlp`,
    ]);
    const bytes = Buffer.from(encodeTraceData(traceDataOf(records[bad])));
    expect([...quarantined.values()]).toEqual([bytes]);
    expect(await running.metric("quarantined_records_total")).toBe(1);
    const { transactions } = await running.openTable("t").refresh();
    expect(transactions.get(running.appId(0))).toBe(count);
    await running.stop();
    // The record no longer holds the log back.
    const again = await startIngester({ dir: folder.path });
    expect(await again.live("t", records.flat())).toEqual([]);
    await again.stop();
  });

  it("any set of them, tenants mixed: all others are stored exactly once", async () => {
    const cases = fc.array(fc.record({ tenant: fc.constantFrom("a", "b"), isBad: fc.boolean() }), {
      minLength: 1,
      maxLength: 24,
    });
    await fc.assert(
      fc.asyncProperty(cases, async (list) => {
        await using folder = await TempFolder.make();
        const { running, cutter } = await startPoisoned(folder.path);
        const good: Record<string, SpanSpec[]> = { a: [], b: [] };
        const bad: Record<string, number> = { a: 0, b: 0 };
        for (const { tenant, isBad } of list) {
          const record = makeTrace(1, { partition: 0 });
          const offset = await appendOne(running, tenant, record);
          if (isBad) {
            cutter.poison.add(`${tenant} 0 ${offset}`);
            bad[tenant]++;
          } else good[tenant].push(...record);
        }
        await running.ingester.flush();
        for (const tenant of ["a", "b"]) {
          expect(await running.stored(tenant)).toEqual(expected(good[tenant]));
          expect((await running.quarantined(tenant)).size).toBe(bad[tenant]);
        }
        await running.stop();
      }),
      { numRuns: 4 },
    );
  });

  it("a record over which the thread always dies goes to quarantine too", async () => {
    await using folder = await TempFolder.make();
    const { running, cutter } = await startPoisoned(folder.path);
    cutter.reason = cutterDied;
    const records = Array.from({ length: 4 }, () => makeTrace(2, { partition: 0 }));
    for (const record of records) await appendOne(running, "t", record);
    cutter.poison.add("t 0 2");
    await running.ingester.flush();
    expect(await running.stored("t")).toEqual(expected(records[0], records[1], records[3]));
    expect((await running.quarantined("t")).size).toBe(1);
    // Three deaths for each of: the head, its second half, the record.
    expect(cutter.failures).toBe(9);
    await running.stop();
  });

  it("halves with columns that differ in case only make one commit", async () => {
    await using folder = await TempFolder.make();
    const { running, cutter } = await startPoisoned(folder.path);
    const records = ["Key", "Key", "key", "key"].map((key) =>
      makeTrace(1, { partition: 0, attributes: { [key]: "x" } }),
    );
    for (const record of records) await appendOne(running, "t", record);
    cutter.poison.add("t 0 1");
    await running.ingester.flush();
    expect(await running.stored("t")).toEqual(expected(records[0], records[2], records[3]));
    expect(await running.metric("store_failures_total")).toBe(0);
    await running.stop();
  });

  it("a store failure meanwhile puts no other record into quarantine", async () => {
    await using folder = await TempFolder.make();
    const { running, cutter } = await startPoisoned(folder.path);
    const records = Array.from({ length: 8 }, () => makeTrace(1, { partition: 0 }));
    for (const record of records) await appendOne(running, "t", record);
    cutter.poison.add("t 0 5");
    await mkdir(join(folder.path, "bucket", "t"), { recursive: true });
    await writeFile(join(folder.path, "bucket", "t", "blocks"), "in the way");
    const flushed = running.ingester.flush();
    await eventually(async () => (await running.metric("store_failures_total")) > 3);
    await rm(join(folder.path, "bucket", "t", "blocks"));
    await flushed;
    const good = records.filter((_, i) => i !== 5);
    expect(await running.stored("t")).toEqual(expected(...good));
    expect((await running.quarantined("t")).size).toBe(1);
    await running.stop();
  });
});

describe("records that do not decode", () => {
  it("are in quarantine before the offset passes them; the others are stored", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path });
    const good = [makeTrace(2, { partition: 0 }), makeTrace(2, { partition: 0 })];
    await appendOne(running, "t", good[0]);
    await appendOne(running, "t", garbage);
    await appendOne(running, "t", good[1]);
    await running.readAll();
    expect(await running.live("t", good.flat())).toEqual(expected(...good));
    // While the record cannot be put into quarantine, the offset does not pass it.
    const place = join(folder.path, "quarantine");
    await writeFile(place, "in the way");
    const flushed = running.ingester.flush();
    await eventually(async () => (await running.metric("store_failures_total")) > 2);
    expect((await running.openTable("t").refresh()).version).toBe(-1);
    expect(running.spanLog.firstOffset(0)).toBe(0);
    await rm(place);
    await flushed;
    expect(await running.stored("t")).toEqual(expected(...good));
    expect([...(await running.quarantined("t")).values()]).toEqual([Buffer.from(garbage)]);
    expect(await running.metric("undecodable_records")).toBe(1);
    expect(running.spanLog.firstOffset(0)).toBe(3);
    await running.stop();
  });

  it("alone in a head: the table passes them without a block", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path });
    await appendOne(running, "t", garbage);
    await running.ingester.flush();
    const { files, transactions } = await running.openTable("t").refresh();
    expect(files.size).toBe(0);
    expect(transactions.get(running.appId(0))).toBe(1);
    expect((await running.quarantined("t")).size).toBe(1);
    expect((await running.ingester.pin("t", new AbortController().signal)).heads).toEqual([]);
    await running.stop();
  });

  it("beside records that cannot be encoded: each goes to quarantine once", async () => {
    await using folder = await TempFolder.make();
    const { running, cutter } = await startPoisoned(folder.path);
    const records = Array.from({ length: 4 }, () => makeTrace(1, { partition: 0 }));
    await appendOne(running, "t", records[0]);
    await appendOne(running, "t", garbage);
    await appendOne(running, "t", records[1]);
    cutter.poison.add("t 0 2");
    await appendOne(running, "t", records[2]);
    await running.ingester.flush();
    expect(await running.stored("t")).toEqual(expected(records[0], records[2]));
    const names = [...(await running.quarantined("t")).keys()];
    expect(names.map((name) => /-(\d+)\.otlp$/.exec(name)![1]).sort()).toEqual(["1", "2"]);
    expect(await readdir(dirname(join(folder.path, "quarantine", "t")))).toEqual(["t"]);
    await running.stop();
  });
});
