import { describe, expect, it } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import { FaultyFs, HandClock, KeptLog, openTestLog, readAll, TempDir } from "./span-log.testing.ts";
import type { AppendResult, SpanLog } from "./span-log.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");

function append(log: SpanLog, partition: number, text: string): Promise<AppendResult> {
  return log.append(partition, "acme", bytes(text));
}

async function errorOf(promise: Promise<unknown>): Promise<SpoorError> {
  const error: unknown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(SpoorError);
  return error as SpoorError;
}

describe("waiting and giving up", () => {
  it("does not append a record that all callers aborted before its write", async () => {
    using dir = new TempDir();
    await using log = await openTestLog(dir.path);
    const one = new AbortController();
    const two = new AbortController();
    const options = { signal: one.signal };
    const a = errorOf(log.append(0, "acme", bytes("both"), options));
    const b = log.append(0, "acme", bytes("both"), { signal: two.signal });
    const c = errorOf(log.append(0, "acme", bytes("one"), options));
    one.abort();
    expect((await a).code).toBe("Canceled");
    expect((await c).code).toBe("Canceled");
    expect(await b).toEqual({ offset: 0, duplicate: true });
    expect(log.durableEnd(0)).toBe(1);
    expect(log.stats().pendingBytes).toBe(0);
    expect((await append(log, 0, "one")).duplicate).toBe(false);
    const late = await errorOf(log.append(0, "acme", bytes("late"), options));
    expect(late.code).toBe("Canceled");
  });

  it("close writes pending records and refuses later ones", async () => {
    using dir = new TempDir();
    const log = await openTestLog(dir.path);
    const waiting = Array.from({ length: 10 }, (_, i) => append(log, i % 2, `r${i}`));
    const closed = log.close();
    const refused = await errorOf(append(log, 0, "late"));
    expect([refused.code, refused.reason]).toEqual(["Unavailable", "log_closed"]);
    await closed;
    expect((await Promise.all(waiting)).every(({ duplicate }) => !duplicate)).toBe(true);
    expect(readAll(dir.path, 0, { from: 0, to: 5 }).records).toHaveLength(5);
    expect((await errorOf(log.trim(0, 1, {}))).reason).toBe("log_closed");
    await log.close();
  });

  it("refuses invalid records", async () => {
    using dir = new TempDir();
    await using log = await openTestLog(dir.path, { pendingBytesMax: 1000 });
    for (const tenant of ["", "x".repeat(256), "\ud800"]) {
      expect((await errorOf(log.append(0, tenant, bytes("a")))).reason).toBe("bad_tenant");
    }
    for (const partition of [-1, 2, 0.5, NaN]) {
      expect((await errorOf(append(log, partition, "a"))).code).toBe("InvalidInput");
    }
    expect((await errorOf(append(log, 0, "x".repeat(501)))).code).toBe("TooLarge");
    expect((await errorOf(log.trim(0, 1, {}))).code).toBe("InvalidInput");
    expect((await errorOf(log.trim(0, 0, { acme: 1 }))).code).toBe("InvalidInput");
  });
});

describe("bounds", () => {
  it("is full, and is not when trimmed", async () => {
    using dir = new TempDir();
    await using log = await openTestLog(dir.path, { bytesMax: 4000 });
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => append(log, 0, `r${i}`.padEnd(200))),
    );
    const refused = results.filter((result) => result.status === "rejected");
    const count = results.length - refused.length;
    const error = refused[0].reason as SpoorError;
    expect([error.code, error.reason, error.retryAfterMs]).toEqual([
      "LimitExceeded",
      "log_full",
      5000,
    ]);
    expect(count).toBeGreaterThan(10);
    expect(log.stats().bytes).toBeLessThanOrEqual(4000);
    expect((await append(log, 0, "r0".padEnd(200))).duplicate).toBe(true);
    await log.trim(0, log.durableEnd(0), {});
    expect(log.stats().bytes).toBeLessThan(1000);
    expect((await append(log, 0, "more")).offset).toBe(count);
    expect(log.stats().refusedTotal.log_full).toBe(refused.length);
  });

  it("is busy while too much waits in memory", async () => {
    using dir = new TempDir();
    await using log = await openTestLog(dir.path, { pendingBytesMax: 1000 });
    const waiting = Array.from({ length: 3 }, (_, i) => append(log, i % 2, `r${i}`.padEnd(250)));
    const error = await errorOf(append(log, 1, "one more".padEnd(250)));
    expect([error.code, error.reason]).toEqual(["LimitExceeded", "log_busy"]);
    await Promise.all(waiting);
    expect((await append(log, 1, "one more".padEnd(250))).duplicate).toBe(false);
  });

  it("leaves free space on the disk, and looks it up at most once per second", async () => {
    using dir = new TempDir();
    const clock = new HandClock();
    const fs = new FaultyFs();
    fs.free = 2000;
    await using log = await openTestLog(dir.path, { clock, fs, freeBytesMin: 1000 });
    const asked = (): number => fs.calls.filter((call) => call === "freeBytes").length;
    expect(asked()).toBe(1);
    await append(log, 0, "a".repeat(400));
    await append(log, 0, "b".repeat(400));
    const error = await errorOf(append(log, 0, "c".repeat(400)));
    expect([error.code, error.reason]).toEqual(["Unavailable", "disk_space_low"]);
    expect(asked()).toBe(1);
    clock.ms += 1000;
    fs.free = 1e9;
    await append(log, 0, "c".repeat(400));
    expect(asked()).toBe(2);
    clock.ms += 1000;
    fs.free = 0;
    await append(log, 0, "d");
    expect(asked()).toBe(3);
    expect((await errorOf(append(log, 0, "e"))).reason).toBe("disk_space_low");
  });

  it("accepts records while the free space is unknown", async () => {
    using dir = new TempDir();
    const clock = new HandClock();
    const fs = new FaultyFs();
    const lines = new KeptLog();
    await using log = await openTestLog(dir.path, { clock, fs, log: lines });
    fs.decide = (call) => (call === "freeBytes" ? "before" : undefined);
    clock.ms += 1000;
    await append(log, 0, "a");
    await log.close();
    expect(lines.lines.map(({ level }) => level)).toContain("warn");
  });
});
