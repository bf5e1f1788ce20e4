import { mkdtemp, mkdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SpoorError } from "#pkg/errors/errors.ts";
import { HandClock, KeptLog } from "#pkg/spanlog/span-log.testing.ts";
import { type DataLock, lockDataFolder } from "./data-lock.ts";

class SleepingClock extends HandClock {
  readonly sleeps: number[] = [];
  override sleep(ms: number): Promise<void> {
    this.sleeps.push(ms);
    this.ms += ms;
    return Promise.resolve();
  }
}

let dir: string;
let clock: SleepingClock;
let log: KeptLog;
let lost: SpoorError[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-lock-"));
  clock = new SleepingClock();
  log = new KeptLog();
  lost = [];
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

const take = (dataDir: string = dir): Promise<DataLock> =>
  lockDataFolder(dataDir, { clock, log, onLost: (error) => lost.push(error) });

const otherOwner = JSON.stringify({
  token: "other",
  pid: 4711,
  host: "elsewhere",
  namespace: "another boot net:[1]",
});

describe("the lock of the data folder", () => {
  it("is certain for three seconds after a read, then after another read", async () => {
    const lock = await take();
    const own = await readFile(join(dir, "lock-owner"), "utf8");
    // The file is not read within the lease: a successor waits longer than that.
    await writeFile(join(dir, "lock-owner"), otherOwner);
    clock.ms += 2999;
    expect(lock.isHeld()).toBe(true);
    await writeFile(join(dir, "lock-owner"), own);
    clock.ms += 3_600_000;
    expect(lock.isHeld()).toBe(true);
    await writeFile(join(dir, "lock-owner"), otherOwner);
    expect(lock.isHeld()).toBe(true);
    expect(lost).toEqual([]);
    clock.ms += 3000;
    expect(lock.isHeld()).toBe(false);
    expect(lost).toHaveLength(1);
    expect(lost[0].reason).toBe("data_dir_lost");
    expect(lost[0].message).toContain("process 4711 on elsewhere has it now");
    // A lost lock stays lost, and the file of the other process is kept.
    await writeFile(join(dir, "lock-owner"), own);
    expect(lock.isHeld()).toBe(false);
    await writeFile(join(dir, "lock-owner"), otherOwner);
    await lock.release();
    expect(await readFile(join(dir, "lock-owner"), "utf8")).toBe(otherOwner);
    expect(lost).toHaveLength(1);
  });

  it("is read again after a step of the wall clock, which may have been a sleep", async () => {
    const lock = await take();
    await writeFile(join(dir, "lock-owner"), otherOwner);
    clock.steppedMs = -7_200_000;
    expect(lock.isHeld()).toBe(false);
    await lock.release();
  });

  it("is not certain when its file cannot be read", async () => {
    const lock = await take();
    await rm(join(dir, "lock-owner"));
    clock.ms += 3000;
    expect(lock.isHeld()).toBe(false);
    expect(lost[0].message).toContain("ENOENT");
    await lock.release();
  });

  it("of a process that does not respond is taken over after its lease", async () => {
    await writeFile(join(dir, "lock-owner"), otherOwner);
    const lock = await take();
    expect(clock.sleeps).toEqual([5000]);
    expect(log.lines).toMatchObject([{ level: "warn", fields: { formerPid: 4711 } }]);
    await lock.release();
    // After a release the next process need not wait, nor after a kill in the same namespace.
    const next = await take();
    expect(clock.sleeps).toEqual([5000]);
    await next.release();
  });

  it("that another process holds is waited for, and names that process", async () => {
    await mkdir(join(dir, "lock"));
    await writeFile(join(dir, "lock-owner"), otherOwner);
    await expect(take()).rejects.toMatchObject({
      code: "Unavailable",
      reason: "data_dir_locked",
      message: `cannot lock the data folder ${dir}: another process uses it (process 4711 on elsewhere)`,
    });
    expect(clock.sleeps).toHaveLength(24);
    const lock = await take(join(dir, "inner"));
    await expect(take(join(dir, "inner"))).rejects.toMatchObject({
      message: expect.stringContaining(
        `another process uses it (process ${process.pid})`,
      ) as string,
    });
    await lock.release();
  });

  it("fails at once in a folder that cannot be written, with the reason", async () => {
    await writeFile(join(dir, "file"), "");
    await expect(take(join(dir, "file", "data"))).rejects.toMatchObject({
      reason: "data_dir_unusable",
      message: expect.stringContaining("ENOTDIR") as string,
    });
    await expect(take("/proc/spoor-data")).rejects.toMatchObject({
      reason: "data_dir_unusable",
      message: expect.stringContaining("ENOENT") as string,
    });
    // A lock that cannot be created or removed.
    await writeFile(join(dir, "lock"), "");
    await utimes(join(dir, "lock"), 1, 1);
    await expect(take()).rejects.toMatchObject({
      reason: "data_dir_unusable",
      message: expect.stringContaining("ENOTDIR") as string,
    });
    expect(clock.sleeps).toEqual([]);
  });
});
