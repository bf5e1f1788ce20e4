/** Tests of several consumers of one log, each with its own position. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { openFileLogReader } from "./file-log-reader.ts";
import type { FileLogOptions } from "./file-log.ts";
import { FaultyFs, KeptLog, openTestLog, readAll, TempDir } from "./span-log.testing.ts";
import type { ConsumerConfig, LogBatch, SpanLog } from "./span-log.ts";

const metrics: ConsumerConfig = { name: "metrics", recordsBehindMax: 1000, bytesBehindMax: 8000 };
const edges: ConsumerConfig = { name: "edges", recordsBehindMax: 1000, bytesBehindMax: 8000 };
const bytesMax = 40_000;

class LogFixture implements Disposable {
  readonly #dir = new TempDir();
  readonly lines = new KeptLog();
  readonly fs = new FaultyFs();

  get path(): string {
    return this.#dir.path;
  }

  open(consumers: ConsumerConfig[], options: Partial<FileLogOptions> = {}): Promise<SpanLog> {
    const parts = { log: this.lines, fs: this.fs, ...options };
    return openTestLog(this.path, { consumers, bytesMax, ...parts });
  }

  /** Consumers that were reported to have lost a claim. */
  reported(): unknown[] {
    return this.lines.lines
      .filter(({ level, message }) => level === "error" && message.includes("lost its claim"))
      .map(({ fields }) => fields.consumer);
  }

  read(consumer: string, from: number, to: number): LogBatch {
    using reader = openFileLogReader(this.path, 0, consumer);
    return reader.read(from, to, { bytesMax: 1_000_000 });
  }

  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]();
  }
}

async function fill(log: SpanLog, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) await log.append(0, "acme", Buffer.from(`${i} `.padEnd(300)));
}

function trimAll(log: SpanLog): Promise<void> {
  const end = log.durableEnd(0);
  return log.trim(0, end, { acme: end });
}

describe("two consumers of one log, one of them stuck", () => {
  it("the other continues, the log stays within its limit, the lost claim is reported", async () => {
    using fixture = new LogFixture();
    await using log = await fixture.open([metrics, edges]);
    using reader = openFileLogReader(fixture.path, 0, "edges");
    const going = log.consumer("edges");
    const stuck = log.consumer("metrics");
    const seen: number[] = [];
    // Four times the log's limit: without trimming it would refuse records.
    for (let at = 0; at < 500; at += 5) {
      await fill(log, at, at + 5);
      const end = going.durableEnd(0);
      for (let next = seen.length; next < end;) {
        const batch = reader.read(next, end, { bytesMax: 2000 });
        expect(batch.gaps).toEqual([]);
        seen.push(...batch.records.map(({ offset }) => offset));
        next = batch.nextOffset;
      }
      await going.trim(0, end);
      await trimAll(log);
      expect(log.stats().bytes).toBeLessThanOrEqual(bytesMax);
      // While its lag is within the limit, all of its records are in the log.
      if (!stuck.isLost(0)) {
        expect(readAll(fixture.path, 0, { from: 0, to: end }).records).toHaveLength(end);
      }
    }
    expect(seen).toEqual(Array.from({ length: 500 }, (_, i) => i));
    expect(fixture.reported()).toEqual(["metrics"]);
    expect(log.consumers()).toMatchObject([
      { name: "ingester", behindRecords: 0, lostPartitions: [], claimsLostTotal: 0 },
      { name: "metrics", behindRecords: 500, lostPartitions: [0], claimsLostTotal: 1 },
      { name: "edges", behindRecords: 0, lostPartitions: [], claimsLostTotal: 0 },
    ]);
    expect(log.stats().segments).toBeLessThan(6);
    const lost = { code: "NotFound", reason: "log_claim_lost" };
    expect(() => fixture.read("metrics", 0, 500)).toThrow(expect.objectContaining(lost));
    await expect(stuck.trim(0, 10)).rejects.toMatchObject(lost);
  });

  it("a limit in records applies too, and each partition has a share of it", async () => {
    using fixture = new LogFixture();
    await using log = await fixture.open([{ ...metrics, recordsBehindMax: 8 }]);
    const stuck = log.consumer("metrics");
    await fill(log, 0, 4);
    await trimAll(log);
    expect([stuck.isLost(0), log.stats().records]).toEqual([false, 4]);
    await fill(log, 4, 5);
    await trimAll(log);
    expect([stuck.isLost(0), stuck.isLost(1), log.stats().records]).toEqual([true, false, 0]);
  });
});

describe("a consumer", () => {
  it("keeps its position, and that it has lost its claim, over restarts", async () => {
    using fixture = new LogFixture();
    const log = await fixture.open([metrics, edges]);
    await fill(log, 0, 9);
    await log.consumer("edges").trim(0, 5);
    await trimAll(log);
    await log.close();

    await using second = await fixture.open([metrics, edges]);
    expect(second.firstOffset(0)).toBe(9);
    expect(second.consumer("metrics").firstOffset(0)).toBe(0);
    expect(second.consumer("edges").firstOffset(0)).toBe(5);
    expect(readAll(fixture.path, 0, { from: 0, to: 9 }).records).toHaveLength(9);
    await fill(second, 9, 30);
    await trimAll(second);
    await second.close();
    expect(new Set(fixture.reported())).toEqual(new Set(["edges", "metrics"]));

    await using third = await fixture.open([metrics, edges]);
    const consumer = third.consumer("metrics");
    expect(consumer.isLost(0)).toBe(true);
    const lost = { reason: "log_claim_lost" };
    expect(() => fixture.read("metrics", 29, 30)).toThrow(expect.objectContaining(lost));
    // It rejoins at the log's current beginning, and misses nothing from there.
    const from = await consumer.rejoin(0);
    await fill(third, 30, 32);
    await trimAll(third);
    const { records, gaps } = fixture.read("metrics", from, 32);
    expect(gaps).toEqual([]);
    expect(records.map(({ offset }) => offset)).toEqual(
      Array.from({ length: 32 - from }, (_, i) => from + i),
    );
    expect(consumer.isLost(0)).toBe(false);
    expect(await consumer.rejoin(0)).toBe(from);
    expect(fixture.reported()).toHaveLength(2);
  });

  it("that rejoins while the log exceeds its limit begins at the end", async () => {
    using fixture = new LogFixture();
    await using log = await fixture.open([metrics]);
    const consumer = log.consumer("metrics");
    await fill(log, 0, 40);
    await log.trim(0, 1, {});
    expect(consumer.isLost(0)).toBe(true);
    expect(await consumer.rejoin(0)).toBe(40);
    expect([consumer.isLost(0), log.firstOffset(0)]).toEqual([false, 1]);
  });

  it("that is not registered after a restart retains nothing in the log", async () => {
    using fixture = new LogFixture();
    const log = await fixture.open([metrics]);
    await fill(log, 0, 9);
    await trimAll(log);
    expect(log.stats().records).toBe(9);
    await log.close();
    await using second = await fixture.open([]);
    expect(second.firstOffset(0)).toBe(9);
    await trimAll(second);
    expect(second.stats().records).toBe(0);
    // Like a log that never had a consumer besides the ingesters.
    expect(readFileSync(`${fixture.path}/p0/trimmed.json`, "utf8").split("\n")[0]).toBe(
      '{"format":2,"trimmedTo":9,"committed":{"acme":9}}',
    );
  });

  it("loses its claim only when the loss is durable, and it is reported once", async () => {
    using fixture = new LogFixture();
    await using log = await fixture.open([metrics]);
    await fill(log, 0, 30);
    fixture.fs.decide = (call, path) =>
      call === "rename" && path.endsWith("trimmed.json") ? "before" : undefined;
    await expect(trimAll(log)).rejects.toMatchObject({ reason: "log_write_failed" });
    expect(log.consumer("metrics").isLost(0)).toBe(false);
    expect(fixture.read("metrics", 0, 30).records.length).toBeGreaterThan(0);
    expect(fixture.reported()).toEqual([]);
    fixture.fs.decide = () => undefined;
    await trimAll(log);
    await trimAll(log);
    expect(fixture.reported()).toEqual(["metrics"]);
  });

  it("that was not registered is NotFound, and bad bounds and names are refused", async () => {
    using fixture = new LogFixture();
    await using log = await fixture.open([metrics]);
    expect(() => log.consumer("edges")).toThrow(expect.objectContaining({ code: "NotFound" }));
    await log.close();
    const bad: [ConsumerConfig[], string][] = [
      [[{ ...metrics, name: "ingester" }], "not a unique name"],
      [[metrics, metrics], "not a unique name"],
      [[{ ...metrics, name: "Spans/1" }], "not a unique name"],
      [[{ ...metrics, recordsBehindMax: 0 }], "bounds of 0 records"],
      [[{ ...metrics, bytesBehindMax: bytesMax / 2 }, edges], "more than half of the log"],
    ];
    for (const [consumers, message] of bad) {
      await expect(fixture.open(consumers)).rejects.toMatchObject({
        code: "InvalidInput",
        reason: "bad_log_consumer",
        message: expect.stringContaining(message) as string,
      });
    }
  });
});

describe("the ingesters", () => {
  it("never lose their claim: the log fills and pushes back on clients", async () => {
    using fixture = new LogFixture();
    await using log = await fixture.open([edges]);
    const going = log.consumer("edges");
    const filling = async (): Promise<void> => {
      for (let at = 0; at < 1000; at++) {
        await fill(log, at, at + 1);
        await going.trim(0, log.durableEnd(0));
      }
    };
    await expect(filling()).rejects.toMatchObject({ code: "LimitExceeded", reason: "log_full" });
    const end = log.durableEnd(0);
    expect(log.firstOffset(0)).toBe(0);
    expect(readAll(fixture.path, 0, { from: 0, to: end }).records).toHaveLength(end);
    expect(fixture.reported()).toEqual([]);
  });
});
