import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import { openFileLogReader } from "./file-log-reader.ts";
import { requestKey } from "./retry-memory.ts";
import { HandClock, KeptLog, openTestLog, readAll, TempDir } from "./span-log.testing.ts";
import type { AppendResult, SpanLog } from "./span-log.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");

function append(log: SpanLog, partition: number, text: string): Promise<AppendResult> {
  return log.append(partition, "acme", bytes(text));
}

async function appendMany(log: SpanLog, partition: number, count: number): Promise<void> {
  const texts = Array.from({ length: count }, (_, i) => `record ${i} `.padEnd(100, "."));
  for (const text of texts) await append(log, partition, text);
}

async function errorOf(promise: Promise<unknown>): Promise<SpoorError> {
  const error: unknown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(SpoorError);
  return error as SpoorError;
}

describe("append and read", () => {
  it("assigns dense offsets per partition and reads what was written", async () => {
    using dir = new TempDir();
    const clock = new HandClock();
    await using log = await openTestLog(dir.path, { clock });
    expect(await append(log, 0, "a")).toEqual({ offset: 0, duplicate: false });
    const parts = [bytes("b"), bytes(""), bytes("cd")];
    clock.ms += 5;
    expect(await log.append(0, "Ünï", parts)).toEqual({ offset: 1, duplicate: false });
    expect(await append(log, 1, "")).toEqual({ offset: 0, duplicate: false });
    expect(log.durableEnd(0)).toBe(2);
    expect(readAll(dir.path, 0, { from: 0, to: 2 }).records).toEqual([
      { offset: 0, tenant: "acme", appendedMs: clock.ms - 5, text: "a" },
      { offset: 1, tenant: "Ünï", appendedMs: clock.ms, text: "bcd" },
    ]);
    expect(readAll(dir.path, 1, { from: 0, to: 1 }).records[0].text).toBe("");
  });

  it("groups the records that arrive during a write", async () => {
    using dir = new TempDir();
    await using log = await openTestLog(dir.path, { segmentBytesMax: 1e6 });
    const before = log.stats();
    const first = append(log, 0, "first");
    await new Promise(setImmediate);
    const rest = Array.from({ length: 50 }, (_, i) => append(log, 0, `r${i}`));
    expect(log.stats().pendingRecords).toBe(51);
    expect((await first).offset).toBe(0);
    const offsets = (await Promise.all(rest)).map(({ offset }) => offset);
    expect(offsets).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
    const after = log.stats();
    expect(after.groupsTotal - before.groupsTotal).toBe(2);
    expect(after.fsyncsTotal - before.fsyncsTotal).toBe(2);
    expect(after.pendingBytes).toBe(0);
    expect(after.pendingRecords).toBe(0);
  });

  it("reports the new end to subscribers, also when one of them throws", async () => {
    using dir = new TempDir();
    const lines = new KeptLog();
    await using log = await openTestLog(dir.path, { log: lines });
    const ends: number[] = [];
    log.subscribe(0, () => {
      throw new Error("subscriber");
    });
    const stop = log.subscribe(0, (end) => ends.push(end));
    await append(log, 0, "a");
    await append(log, 1, "not this partition");
    await Promise.all([append(log, 0, "b"), append(log, 0, "c")]);
    stop();
    await append(log, 0, "d");
    expect(ends).toEqual([1, 3]);
    expect(lines.lines.filter(({ level }) => level === "error")).toHaveLength(4 - 1);
  });

  it("spreads records over segments and continues after reopening", async () => {
    using dir = new TempDir();
    let log = await openTestLog(dir.path);
    await appendMany(log, 0, 20);
    const { id } = log;
    expect(log.stats().segments).toBeGreaterThan(3);
    await log.close();
    log = await openTestLog(dir.path);
    expect(log.id).toBe(id);
    expect(log.durableEnd(0)).toBe(20);
    expect(log.damage).toEqual([]);
    expect((await append(log, 0, "next")).offset).toBe(20);
    await log.close();
    const all = readAll(dir.path, 0, { from: 0, to: 21 });
    expect(all.records.map(({ offset }) => offset)).toEqual(
      Array.from({ length: 21 }, (_, i) => i),
    );
    expect(all.gaps).toEqual([]);
  });

  it("never reads past the durable end and starts anywhere", async () => {
    using dir = new TempDir();
    await using log = await openTestLog(dir.path);
    await appendMany(log, 0, 20);
    for (let from = 0; from <= 20; from++) {
      for (let to = from; to <= 20; to++) {
        const { records, gaps } = readAll(dir.path, 0, { from, to });
        expect(records.map(({ offset }) => offset)).toEqual(
          Array.from({ length: to - from }, (_, i) => from + i),
        );
        expect(gaps).toEqual([]);
      }
    }
    using reader = openFileLogReader(dir.path, 0);
    expect(reader.read(7, 7, { bytesMax: 10 })).toEqual({ records: [], gaps: [], nextOffset: 7 });
    expect(() => reader.read(8, 7, { bytesMax: 10 })).toThrow("from 8 to 7");
    expect(() => openFileLogReader(dir.path, 2)).toThrow("not found");
  });

  it("continues to read while the log grows, segment after segment", async () => {
    using dir = new TempDir();
    await using log = await openTestLog(dir.path);
    using reader = openFileLogReader(dir.path, 0);
    let next = 0;
    for (let i = 0; i < 40; i++) {
      await append(log, 0, `record ${i} `.padEnd(150, "."));
      const batch = reader.read(next, log.durableEnd(0), { bytesMax: 4096 });
      expect(batch.records.map(({ offset }) => offset)).toEqual([i]);
      next = batch.nextOffset;
    }
  });
});

describe("retries", () => {
  it("acknowledges a duplicate without appending, per tenant, partition and bytes", async () => {
    using dir = new TempDir();
    await using log = await openTestLog(dir.path);
    const [a, b] = await Promise.all([append(log, 0, "same"), append(log, 0, "same")]);
    expect([a, b]).toEqual([
      { offset: 0, duplicate: false },
      { offset: 0, duplicate: true },
    ]);
    expect(await append(log, 0, "same")).toEqual({ offset: 0, duplicate: true });
    const parts = [bytes("sa"), bytes("me")];
    expect(await log.append(0, "acme", parts)).toEqual({ offset: 0, duplicate: true });
    expect((await log.append(0, "other", bytes("same"))).duplicate).toBe(false);
    expect((await append(log, 1, "same")).duplicate).toBe(false);
    expect(log.durableEnd(0)).toBe(2);
    expect(log.stats().duplicatesTotal).toBe(3);
  });

  it("forgets after ten minutes", async () => {
    using dir = new TempDir();
    const clock = new HandClock();
    await using log = await openTestLog(dir.path, { clock });
    await append(log, 0, "same");
    clock.ms += 599_999;
    expect((await append(log, 0, "same")).duplicate).toBe(true);
    clock.ms += 1;
    expect(await append(log, 0, "same")).toEqual({ offset: 1, duplicate: false });
  });

  it("recognises retries after a restart, also of trimmed records", async () => {
    using dir = new TempDir();
    const clock = new HandClock();
    let log = await openTestLog(dir.path, { clock });
    await appendMany(log, 0, 20);
    await log.trim(0, 12, {});
    await log.trim(0, 20, {});
    await log.close();
    log = await openTestLog(dir.path, { clock });
    const first = `record 0 `.padEnd(100, ".");
    expect(await append(log, 0, first)).toEqual({ offset: 0, duplicate: true });
    const last = `record 19 `.padEnd(100, ".");
    expect(await append(log, 0, last)).toEqual({ offset: 19, duplicate: true });
    expect(readdirSync(`${dir.path}/p0`).filter((name) => name.endsWith(".ids"))).not.toEqual([]);
    await log.close();
    // The down time is unknown: the machine's clock may have been stepped meanwhile.
    clock.steppedMs = 86_400_000;
    log = await openTestLog(dir.path, { clock });
    clock.ms += 599_999;
    expect(await append(log, 0, first)).toEqual({ offset: 0, duplicate: true });
    clock.ms += 1;
    expect(await append(log, 0, first)).toEqual({ offset: 20, duplicate: false });
    await log.trim(0, 21, {});
    expect(readdirSync(`${dir.path}/p0`).filter((name) => name.endsWith(".ids"))).toEqual([]);
    await log.close();
  });

  it.each([-7_200_000, 7_200_000])(
    "neither forgets nor keeps when the wall clock is stepped by %i ms",
    async (steppedMs) => {
      using dir = new TempDir();
      const clock = new HandClock();
      let log = await openTestLog(dir.path, { clock });
      await append(log, 0, "before");
      clock.steppedMs = steppedMs;
      expect(await append(log, 0, "before")).toEqual({ offset: 0, duplicate: true });
      await append(log, 0, "after");
      clock.steppedMs = 0;
      for (const text of ["before", "after"]) {
        expect((await append(log, 0, text)).duplicate).toBe(true);
      }
      await log.close();
      clock.steppedMs = steppedMs;
      log = await openTestLog(dir.path, { clock });
      for (const text of ["before", "after"]) {
        expect((await append(log, 0, text)).duplicate).toBe(true);
      }
      clock.ms += 600_000;
      expect(await append(log, 0, "before")).toEqual({ offset: 2, duplicate: false });
      await log.close();
    },
  );

  it("recognises a request by its key, whatever its record became", async () => {
    using dir = new TempDir();
    let log = await openTestLog(dir.path);
    const key = requestKey("acme", Buffer.from("as received"));
    const send = (text: string): Promise<AppendResult> =>
      log.append(0, "acme", Buffer.from(text), { key });
    expect(await send("whole")).toEqual({ offset: 0, duplicate: false });
    expect(await send("cut")).toEqual({ offset: 0, duplicate: true });
    await log.close();
    log = await openTestLog(dir.path);
    expect(await send("cut otherwise")).toEqual({ offset: 0, duplicate: true });
    const other = requestKey("other", Buffer.from("as received"));
    expect(other).not.toEqual(key);
    await expect(
      log.append(0, "acme", Buffer.from("x"), { key: key.subarray(1) }),
    ).rejects.toMatchObject({ reason: "bad_request_key" });
    await log.close();
  });

  it("deletes old hash files when trimming", async () => {
    using dir = new TempDir();
    const clock = new HandClock();
    await using log = await openTestLog(dir.path, { clock });
    for (let round = 0; round < 30; round++) {
      for (let i = 0; i < 10; i++) await append(log, 0, `round ${round} record ${i}`.padEnd(100));
      await log.trim(0, log.durableEnd(0), {});
      clock.ms += 100_000;
      const names = readdirSync(`${dir.path}/p0`).filter((name) => name.endsWith(".ids"));
      expect(names.length).toBeLessThanOrEqual(6);
    }
    expect(log.stats().retryMemoryRecords).toBeLessThanOrEqual(70);
  });

  it("remembers a bounded number", async () => {
    using dir = new TempDir();
    await using log = await openTestLog(dir.path, { retryRecordsMax: 20, segmentBytesMax: 1e6 });
    for (let i = 0; i < 25; i++) await append(log, 0, `r${i}`);
    expect(log.stats().retryMemoryRecords).toBe(10);
    expect(log.stats().retryMemoryEvictedTotal).toBe(15);
    expect((await append(log, 0, "r24")).duplicate).toBe(true);
    expect((await append(log, 0, "r14")).duplicate).toBe(false);
  });
});

describe("trim", () => {
  it("removes whole segments and knows after a restart what was trimmed", async () => {
    using dir = new TempDir();
    let log = await openTestLog(dir.path);
    await appendMany(log, 0, 20);
    await log.trim(0, 9, { acme: 9, other: 3, ["__proto__"]: 1 });
    expect(log.firstOffset(0)).toBe(9);
    const left = readAll(dir.path, 0, { from: 0, to: 20 });
    const gone = left.gaps[0].toOffset;
    expect(left.gaps).toEqual([{ fromOffset: 0, toOffset: gone, reason: "trimmed" }]);
    expect(gone).toBeGreaterThan(0);
    expect(left.records.map(({ offset }) => offset)).toEqual(
      Array.from({ length: 20 - gone }, (_, i) => gone + i),
    );
    await log.trim(0, 5, { acme: 9 });
    expect(log.firstOffset(0)).toBe(9);
    await log.close();
    log = await openTestLog(dir.path);
    expect(log.firstOffset(0)).toBe(9);
    expect([...log.committed(0)]).toEqual([["acme", 9]]);
    expect([...log.committed(1)]).toEqual([]);
    expect(log.stats().records).toBe(11);
    expect(log.damage).toEqual([]);
    await log.close();
  });

  it("keeps offsets going when everything was trimmed, restart after restart", async () => {
    using dir = new TempDir();
    for (let round = 0; round < 5; round++) {
      const log = await openTestLog(dir.path, { bytesMax: 4000 });
      expect(log.durableEnd(0)).toBe(round * 10);
      for (let i = 0; i < 10; i++) await append(log, 0, `${round}/${i}`.padEnd(100));
      await log.trim(0, log.durableEnd(0), {});
      expect(log.stats().records).toBe(0);
      expect(log.damage).toEqual([]);
      await log.close();
      expect(readdirSync(`${dir.path}/p0`).filter((name) => name.endsWith(".seg"))).toHaveLength(1);
    }
  });

  it("does not disturb a reader that stands in a removed segment", async () => {
    using dir = new TempDir();
    await using log = await openTestLog(dir.path);
    await appendMany(log, 0, 20);
    using reader = openFileLogReader(dir.path, 0);
    const first = reader.read(0, 20, { bytesMax: 300 });
    expect(first.nextOffset).toBeLessThan(9);
    await log.trim(0, 20, {});
    let next = first.nextOffset;
    const gaps = [];
    const offsets = [];
    while (next < 20) {
      const batch = reader.read(next, 20, { bytesMax: 300 });
      gaps.push(...batch.gaps);
      offsets.push(...batch.records.map(({ offset }) => offset));
      next = batch.nextOffset;
    }
    // The rest of the segment that it had open, and the last one, which is too small to be removed.
    expect(gaps).toEqual([{ fromOffset: 6, toOffset: 18, reason: "trimmed" }]);
    expect(offsets.at(-1)).toBe(19);
  });
});

describe("opening", () => {
  it("accepts another number of partitions only when all records are trimmed", async () => {
    using dir = new TempDir();
    let log = await openTestLog(dir.path, { partitionCount: 2 });
    const { id } = log;
    await appendMany(log, 0, 3);
    await log.trim(0, 2, { acme: 2 });
    await log.close();
    const error = await errorOf(openTestLog(dir.path, { partitionCount: 4 }));
    expect([error.code, error.reason]).toEqual(["InvalidInput", "partition_count_changed"]);
    log = await openTestLog(dir.path, { partitionCount: 2 });
    await log.trim(0, 3, { acme: 3 });
    await log.close();
    log = await openTestLog(dir.path, { partitionCount: 4 });
    expect([log.id, log.partitionCount]).toEqual([id, 4]);
    expect([0, 1, 2, 3].map((i) => log.durableEnd(i))).toEqual([3, 0, 0, 0]);
    expect([...log.committed(0)]).toEqual([]);
    await append(log, 3, "x");
    await log.trim(3, 1, {});
    await log.close();
    await (await openTestLog(dir.path, { partitionCount: 1 })).close();
    log = await openTestLog(dir.path, { partitionCount: 4 });
    expect([0, 1, 2, 3].map((i) => log.durableEnd(i))).toEqual([3, 0, 0, 1]);
    await log.close();
    expect((await errorOf(openTestLog(dir.path, { partitionCount: 3 }))).code).toBe("InvalidInput");
  });

  it("refuses a log whose identity or used offsets are unknown", async () => {
    using dir = new TempDir();
    await (await openTestLog(dir.path)).close();
    rmSync(`${dir.path}/log.json`);
    // Nothing was appended yet, as if the creation had been interrupted.
    let log = await openTestLog(dir.path);
    await append(log, 0, "a");
    await log.close();
    const state = readFileSync(`${dir.path}/log.json`);
    rmSync(`${dir.path}/log.json`);
    expect((await errorOf(openTestLog(dir.path))).reason).toBe("log_state_missing");
    const newer = Buffer.from(state);
    newer[newer.indexOf("1")] = 0x32;
    writeFileSync(`${dir.path}/log.json`, newer);
    expect((await errorOf(openTestLog(dir.path))).code).toBe("Corrupt");
    writeFileSync(`${dir.path}/log.json`, state);
    rmSync(`${dir.path}/p1`, { recursive: true });
    expect((await errorOf(openTestLog(dir.path))).reason).toBe("log_segments_missing");
  });

  it("continues after offsets that a table knows and the log does not", async () => {
    using dir = new TempDir();
    let log = await openTestLog(dir.path);
    await append(log, 0, "a");
    await log.advance(0, 100);
    await log.advance(0, 50);
    expect((await append(log, 0, "b")).offset).toBe(100);
    await log.close();
    expect(readAll(dir.path, 0, { from: 0, to: 101 })).toMatchObject({
      records: [{ offset: 0 }, { offset: 100 }],
      gaps: [{ fromOffset: 1, toOffset: 100, reason: "lost" }],
    });
    log = await openTestLog(dir.path);
    expect(log.durableEnd(0)).toBe(101);
    expect(log.damage).toMatchObject([{ kind: "lost_records", fromOffset: 1, toOffset: 100 }]);
    await log.close();
  });

  it("begins after the committed offsets when the end of the log is gone", async () => {
    using dir = new TempDir();
    let log = await openTestLog(dir.path);
    await appendMany(log, 0, 20);
    await log.trim(0, 3, { acme: 18 });
    await log.close();
    const names = readdirSync(`${dir.path}/p0`).filter((name) => name.endsWith(".seg"));
    for (const name of names.sort().slice(-2)) rmSync(`${dir.path}/p0/${name}`);
    log = await openTestLog(dir.path);
    expect(log.damage).toMatchObject([{ kind: "trim_state", toOffset: 18 }]);
    expect((await append(log, 0, "x")).offset).toBe(18);
    await log.close();
    log = await openTestLog(dir.path);
    expect(log.durableEnd(0)).toBe(19);
    await log.close();
  });
});
