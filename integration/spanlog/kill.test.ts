/** `kill -9` at moments chosen by a seed: every acknowledged record is there, exactly once. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { systemClock } from "#pkg/clock/clock.ts";
import { openFileLog } from "#pkg/spanlog/file-log.ts";
import { KILL_LOG_OPTIONS, killPartition, killText } from "./kill-record.ts";
import { KeptLog, readAll, TempDir } from "#pkg/spanlog/span-log.testing.ts";

const CHILD = fileURLToPath(new URL("kill-worker.ts", import.meta.url));
const ROUNDS = 6;
const SEED = 1;

interface Told {
  /** Key -> offset, as acknowledged. */
  acks: Map<number, number>;
  /** Per partition: below this records may be gone. */
  trims: number[];
}

/** Runs the child until it said `linesMax` lines, then kills it. Later lines count too. */
async function runAndKill(args: string[], linesMax: number, told: Told): Promise<void> {
  const child = spawn(process.execPath, [CHILD, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<string | null>((resolve) =>
    child.on("close", (_, signal) => resolve(signal)),
  );
  let lines = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const [word, a, b] = line.split(" ");
    if (word === "trim") told.trims[Number(a)] = Math.max(told.trims[Number(a)], Number(b));
    else {
      const known = told.acks.get(Number(a));
      if (known !== undefined) expect(Number(b)).toBe(known);
      told.acks.set(Number(a), Number(b));
    }
    if (++lines === linesMax) child.kill("SIGKILL");
  }
  expect(await ended).toBe("SIGKILL");
}

async function check(dir: string, told: Told): Promise<void> {
  await using log = await openFileLog(dir, {
    clock: systemClock,
    log: new KeptLog(),
    ...KILL_LOG_OPTIONS,
  });
  expect(log.damage).toEqual([]);
  const found = new Map<number, number>();
  for (const partition of [0, 1]) {
    expect(log.firstOffset(partition)).toBeLessThanOrEqual(told.trims[partition]);
    const { gaps, records } = readAll(dir, partition, {
      from: 0,
      to: log.durableEnd(partition),
      bytesMax: 5000,
    });
    for (const { offset, text } of records) {
      const key = Number.parseInt(text, 10);
      expect(text).toBe(killText(key).toString("latin1"));
      expect(killPartition(key)).toBe(partition);
      expect(found.has(key)).toBe(false);
      found.set(key, offset);
    }
    for (const gap of gaps) {
      expect(gap.reason).toBe("trimmed");
      expect(gap.toOffset).toBeLessThanOrEqual(told.trims[partition]);
    }
  }
  for (const [key, offset] of told.acks) {
    if (offset >= told.trims[killPartition(key)])
      expect([key, found.get(key)]).toEqual([key, offset]);
    else if (found.has(key)) expect(found.get(key)).toBe(offset);
  }
}

describe("kill -9", () => {
  it("loses nothing that was acknowledged, and a resent record is there once", async () => {
    using dir = new TempDir();
    const told: Told = { acks: new Map(), trims: [0, 0] };
    let state = SEED;
    for (let round = 0; round < ROUNDS; round++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
      // The keys before the newest acknowledged are sent again: some were never answered.
      const newest = Math.max(-1, ...told.acks.keys());
      const first = Math.max(0, newest - 30);
      await runAndKill([dir.path, String(round), String(first)], 1 + (state % 300), told);
      await check(dir.path, told);
    }
    expect(told.acks.size).toBeGreaterThan(ROUNDS);
  });
});
