/** Tests of two processes that both believe they own the log: one was paused and replaced. */
import { cpSync, readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { FileLogOptions } from "./file-log.ts";
import { FaultyFs, HandClock, KeptLog, openTestLog, readAll, TempDir } from "./span-log.testing.ts";
import { requestKey } from "./retry-memory.ts";
import type { AppendResult, SpanLog } from "./span-log.ts";

function append(log: SpanLog, text: string): Promise<AppendResult> {
  return log.append(0, "acme", Buffer.from(text));
}

function textsOf(dir: string, to: number): string[] {
  const { records, gaps } = readAll(dir, 0, { from: 0, to });
  expect(gaps).toEqual([]);
  return records.map(({ text }) => text);
}

/** An owner that believes it owns the log until the test says otherwise. */
class Owner {
  isOwner = true;
  readonly log = new KeptLog();
  readonly fs = new FaultyFs();
  readonly options: Partial<FileLogOptions> = {
    isOwner: () => this.isOwner,
    log: this.log,
    fs: this.fs,
  };
}

describe("an owner of the log that was replaced while it was paused", () => {
  it("acknowledges nothing between its fsync and the check, and appends nothing more", async () => {
    using dir = new TempDir();
    const owner = new Owner();
    const old = await openTestLog(dir.path, owner.options);
    await append(old, "before");
    const ends: number[] = [];
    old.subscribe(0, (end) => ends.push(end));
    owner.isOwner = false;
    const lost = { code: "Unavailable", reason: "log_owner_lost" };
    await expect(append(old, "late")).rejects.toMatchObject(lost);
    const calls = owner.fs.calls.length;
    owner.isOwner = true;
    await expect(append(old, "later")).rejects.toMatchObject(lost);
    expect(owner.fs.calls.slice(calls)).toEqual([]);
    expect([old.durableEnd(0), ends]).toEqual([1, []]);
    await old.close();
  });

  it("does not cut off, replace or trim anything", async () => {
    for (const failing of ["writev", "datasync"] as const) {
      using dir = new TempDir();
      const owner = new Owner();
      const old = await openTestLog(dir.path, owner.options);
      await append(old, "before");
      owner.isOwner = false;
      owner.fs.decide = (call) => (call === failing ? "after" : undefined);
      const calls = owner.fs.calls.length;
      await expect(append(old, "late")).rejects.toMatchObject({ reason: "log_owner_lost" });
      await expect(old.trim(0, 1, {})).rejects.toMatchObject({ reason: "log_owner_lost" });
      await expect(old.advance(1, 9)).rejects.toMatchObject({ reason: "log_owner_lost" });
      expect(() => old.assertOwner()).toThrow("no longer known to be this process's own");
      const done = new Set(owner.fs.calls.slice(calls));
      expect(done.isSubsetOf(new Set(["writev", "datasync"]))).toBe(true);
      await old.close();
    }
  });

  it("cannot harm the next owner's records, which reports what it does not read", async () => {
    using dir = new TempDir();
    // An owner that never notices the take-over, which is the worst case.
    const old = await openTestLog(dir.path);
    await append(old, "shared");
    const lines = new KeptLog();
    const next = await openTestLog(dir.path, { log: lines });
    await append(next, "new 1");
    for (let i = 0; i < 3; i++) await append(old, `late ${i}`);
    await append(next, "new 2");
    // More than its segment's size, so it creates further segments.
    for (let i = 0; i < 30; i++) await append(old, `late too ${i} `.padEnd(100));
    await next.checkFormerOwners();
    await next.checkFormerOwners();
    expect(next.stats().fencedRecordsTotal).toBe(33);
    expect(next.damage.every(({ kind }) => kind === "fenced_records")).toBe(true);
    const errors = lines.lines.filter(({ level }) => level === "error");
    expect(errors).toHaveLength(next.damage.length);
    expect(errors[0].fields["message"]).toMatch(/^\d+ records in .* are not read: owner 1 /);
    expect(textsOf(dir.path, 3)).toEqual(["shared", "new 1", "new 2"]);
    await next.close();
    await old.close();
    // Segments that could be mistaken for valid ones are renamed for inspection.
    const third = await openTestLog(dir.path);
    expect(third.durableEnd(0)).toBe(3);
    expect(third.stats().fencedRecordsTotal).toBe(33);
    expect(textsOf(dir.path, 3)).toEqual(["shared", "new 1", "new 2"]);
    const names = readdirSync(`${dir.path}/p0`);
    expect(names.some((name) => name.endsWith(".fenced"))).toBe(true);
    await third.close();
  });

  it("is found even if it wrote into an empty segment", async () => {
    using dir = new TempDir();
    const old = await openTestLog(dir.path);
    const next = await openTestLog(dir.path);
    await append(old, "late");
    await append(next, "new");
    await next.trim(0, 1, {});
    expect(next.stats().fencedRecordsTotal).toBe(1);
    expect(textsOf(dir.path, 1)).toEqual(["new"]);
    await next.close();
    await old.close();
  });
});

it("a log of format 1 is read, and its retries are recognised", async () => {
  using dir = new TempDir();
  cpSync("testdata/data-folder/v0.1/data/log", dir.path, { recursive: true });
  const log = await openTestLog(dir.path, { clock: new HandClock() });
  expect(log.damage).toEqual([]);
  const end = log.durableEnd(0);
  const { records } = readAll(dir.path, 0, { from: log.firstOffset(0), to: end });
  expect(records.length).toBeGreaterThan(0);
  const { tenant, text, offset } = records.at(-1)!;
  const again = await log.append(0, tenant, Buffer.from(text, "latin1"));
  expect(again).toEqual({ offset, duplicate: true });
  // Requests have keys now; records of format 1 have none.
  const key = requestKey(tenant, Buffer.from("as received"));
  const withKey = await log.append(0, tenant, Buffer.from(text, "latin1"), { key });
  expect(withKey).toEqual({ offset, duplicate: true });
  await log.close();
});
