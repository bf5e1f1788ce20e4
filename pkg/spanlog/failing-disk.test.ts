/** Tests of single disk failures whose consequences are easy to get wrong. */
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  FaultyFs,
  KeptLog,
  openTestLog,
  readAll,
  TempDir,
  type Failure,
  type FsCall,
} from "./span-log.testing.ts";
import type { AppendResult, SpanLog } from "./span-log.ts";

const append = (log: SpanLog, text: string): Promise<AppendResult> =>
  log.append(0, "acme", Buffer.from(text));

/** The next calls of these kinds fail, each once. */
function failOnce(fs: FaultyFs, failures: Partial<Record<FsCall, Failure>>): void {
  const left = { ...failures };
  fs.decide = (call) => {
    const failure = left[call];
    delete left[call];
    return failure;
  };
}

const textsOf = (dir: TempDir, to: number): string[] =>
  readAll(dir.path, 0, { from: 0, to }).records.map(({ text }) => text);

describe("a failing disk", () => {
  it("does not remember a refused record, even if its bytes are on disk", async () => {
    using dir = new TempDir();
    const fs = new FaultyFs();
    let log = await openTestLog(dir.path, { fs });
    await append(log, "first");
    failOnce(fs, { datasync: "before", truncate: "before" });
    await expect(append(log, "refused")).rejects.toMatchObject({
      code: "Unavailable",
      reason: "log_write_failed",
      retryAfterMs: 1000,
    });
    expect(await append(log, "second")).toEqual({ offset: 1, duplicate: false });
    expect(textsOf(dir, 2)).toEqual(["first", "second"]);
    await log.close();
    log = await openTestLog(dir.path, { fs });
    expect(log.damage).toEqual([]);
    expect(await append(log, "refused")).toEqual({ offset: 2, duplicate: false });
    expect(textsOf(dir, 3)).toEqual(["first", "second", "refused"]);
    await log.close();
  });

  it("never writes to a segment again whose successor may exist on disk", async () => {
    for (const syncDir of ["before", "after"] as const) {
      using dir = new TempDir();
      const fs = new FaultyFs();
      let log = await openTestLog(dir.path, { fs });
      await append(log, "first".padEnd(700));
      failOnce(fs, { syncDir });
      await expect(append(log, "too large for the segment".padEnd(700))).rejects.toThrow("EIO");
      expect(await append(log, "small")).toEqual({ offset: 1, duplicate: false });
      expect(textsOf(dir, 2)[1]).toBe("small");
      await log.close();
      log = await openTestLog(dir.path, { fs });
      expect([log.damage, log.durableEnd(0)]).toEqual([[], 2]);
      await log.close();
    }
  });

  it("reuses no offset when advancing fails half way", async () => {
    using dir = new TempDir();
    const fs = new FaultyFs();
    let log = await openTestLog(dir.path, { fs });
    await append(log, "first");
    failOnce(fs, { syncDir: "after" });
    await expect(log.advance(0, 10)).rejects.toMatchObject({ code: "Unavailable" });
    expect((await append(log, "second")).offset).toBe(10);
    await log.close();
    log = await openTestLog(dir.path, { fs });
    expect(log.durableEnd(0)).toBe(11);
    await log.close();
  });

  it("refuses all pending records, logs it once, and recovers", async () => {
    using dir = new TempDir();
    const fs = new FaultyFs();
    const lines = new KeptLog();
    await using log = await openTestLog(dir.path, { fs, log: lines });
    fs.decide = (call) => (call === "writev" ? "half" : undefined);
    for (let round = 0; round < 3; round++) {
      const texts = Array.from({ length: 10 }, (_, i) => `${round}/${i}`);
      const results = await Promise.allSettled(texts.map((text) => append(log, text)));
      expect(results.every(({ status }) => status === "rejected")).toBe(true);
    }
    expect(lines.lines.filter(({ level }) => level === "error")).toHaveLength(1);
    expect(log.stats()).toMatchObject({
      pendingBytes: 0,
      pendingRecords: 0,
      writeFailuresTotal: 3,
    });
    fs.decide = () => undefined;
    expect(await append(log, "0/0")).toEqual({ offset: 0, duplicate: false });
    expect(lines.lines.at(-1)?.message).toBe("log can be written again");
    expect(textsOf(dir, 1)).toEqual(["0/0"]);
  });

  it("refuses the retry of a record in flight together with the record", async () => {
    using dir = new TempDir();
    const fs = new FaultyFs();
    await using log = await openTestLog(dir.path, { fs });
    failOnce(fs, { datasync: "before" });
    const both = await Promise.allSettled([append(log, "same"), append(log, "same")]);
    expect(both.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(await append(log, "same")).toEqual({ offset: 0, duplicate: false });
    expect(readdirSync(`${dir.path}/p0`)).toHaveLength(1);
  });

  it("continues after short writes", async () => {
    using dir = new TempDir();
    const fs = new FaultyFs();
    await using log = await openTestLog(dir.path, { fs });
    fs.decide = (call) => (call === "writev" ? "short" : undefined);
    const parts = ["a", "bc", "", "def".repeat(50)].map((text) => Buffer.from(text));
    await log.append(0, "acme", parts);
    await Promise.all([append(log, "x"), append(log, "y".repeat(99))]);
    expect(textsOf(dir, 3)).toEqual([`abc${"def".repeat(50)}`, "x", "y".repeat(99)]);
  });
});
