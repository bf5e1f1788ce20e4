/** Compares random operations, restarts and disk faults with a trivial model in memory. */
import * as fc from "fast-check";
import { describe, expect, it, inject } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  FaultyFs,
  HandClock,
  openTestLog,
  readAll,
  TempDir,
  type Failure,
} from "./span-log.testing.ts";
import type { SpanLog } from "./span-log.ts";

const PARTITIONS = 2;
const WINDOW_MS = 600_000;

interface ModelRecord {
  tenant: string;
  text: string;
  ms: number;
}

type Op =
  | { op: "append"; partition: number; keys: number[]; tenant: string }
  | { op: "trim"; partition: number; share: number }
  | { op: "read"; partition: number; share: number; bytesMax: number }
  | { op: "wait"; ms: number }
  | { op: "fail"; after: number; count: number; failure: Failure }
  | { op: "reopen" };

const failures = fc.constantFrom<Failure>("before", "half", "after", "short");
const partitions = fc.nat(PARTITIONS - 1);
const ops: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant("append" as const),
      partition: partitions,
      keys: fc.array(fc.nat(60), { minLength: 1, maxLength: 8 }),
      tenant: fc.constantFrom("acme", "other"),
    }),
  },
  fc.record({ op: fc.constant("trim" as const), partition: partitions, share: fc.nat(10) }),
  fc.record({
    op: fc.constant("read" as const),
    partition: partitions,
    share: fc.nat(10),
    bytesMax: fc.integer({ min: 1, max: 2000 }),
  }),
  fc.record({ op: fc.constant("wait" as const), ms: fc.nat(400_000) }),
  fc.record({
    op: fc.constant("fail" as const),
    after: fc.nat(8),
    count: fc.integer({ min: 1, max: 6 }),
    failure: failures,
  }),
  fc.record({ op: fc.constant("reopen" as const) }),
);

const textOf = (key: number): string => `key ${key} `.padEnd(10 + key * 5, "x");

class Harness {
  readonly fs = new FaultyFs();
  readonly clock = new HandClock();
  readonly records: ModelRecord[][] = Array.from({ length: PARTITIONS }, () => []);
  readonly trimmedTo: number[] = Array.from({ length: PARTITIONS }, () => 0);
  /** Records that were refused because the disk failed: each may appear once after a restart. */
  readonly refused: ModelRecord[][] = Array.from({ length: PARTITIONS }, () => []);
  failed = 0;
  #openedMs = Number.NEGATIVE_INFINITY;
  #calls = 0;
  readonly #dir: string;
  log: SpanLog | undefined;

  constructor(dir: string) {
    this.#dir = dir;
  }

  async run(steps: readonly Op[]): Promise<void> {
    const [first] = steps;
    if (first?.op === "fail") this.#arm(first.after, first.count, first.failure);
    await this.#open();
    for (const step of first?.op === "fail" ? steps.slice(1) : steps) {
      await this.#step(step);
      this.#check();
    }
    this.#heal();
    await this.#reopen();
    this.#check();
    await this.log!.close();
    expect(this.fs.writesAfterFailedSync).toBe(0);
  }

  async #step(step: Op): Promise<void> {
    if (step.op === "append") await this.#append(step.partition, step.tenant, step.keys);
    else if (step.op === "trim") await this.#trim(step.partition, step.share);
    else if (step.op === "read") this.#read(step.partition, step.share, step.bytesMax);
    else if (step.op === "wait") this.clock.ms += step.ms;
    else if (step.op === "reopen") await this.#reopen();
    else this.#arm(step.after, step.count, step.failure);
  }

  #arm(after: number, count: number, failure: Failure): void {
    const first = this.#calls + after;
    this.fs.decide = () => {
      const call = this.#calls++;
      if (call < first || call >= first + count) return undefined;
      this.failed++;
      return failure;
    };
  }

  #heal(): void {
    this.fs.decide = () => undefined;
  }

  async #open(): Promise<void> {
    const { clock, fs } = this;
    const open = (): Promise<SpanLog> =>
      openTestLog(this.#dir, { clock, fs, segmentBytesMax: 700 });
    this.log = await open().catch((error: unknown) => {
      expect(error).toBeInstanceOf(SpoorError);
      this.#heal();
      return open();
    });
    this.#openedMs = this.clock.ms;
    expect(this.log.damage).toEqual([]);
    for (let p = 0; p < PARTITIONS; p++) this.#adopt(p);
  }

  async #reopen(): Promise<void> {
    await this.log!.close();
    await this.#open();
  }

  /** Accepts refused records that are in the log because their truncation failed. */
  #adopt(partition: number): void {
    const known = this.records[partition];
    const end = this.log!.durableEnd(partition);
    expect(end).toBeGreaterThanOrEqual(known.length);
    const extra = readAll(this.#dir, partition, { from: known.length, to: end });
    expect(extra.gaps).toEqual([]);
    for (const { tenant, text, appendedMs } of extra.records) {
      const at = this.refused[partition].findIndex((r) => r.tenant === tenant && r.text === text);
      expect(at).toBeGreaterThanOrEqual(0);
      this.refused[partition].splice(at, 1);
      known.push({ tenant, text, ms: appendedMs });
    }
    this.refused[partition] = [];
  }

  async #append(partition: number, tenant: string, keys: readonly number[]): Promise<void> {
    const nowMs = this.clock.ms;
    const model = this.records[partition];
    const results = await Promise.allSettled(
      keys.map((key) => this.log!.append(partition, tenant, Buffer.from(textOf(key)))),
    );
    const fresh: { offset: number; text: string }[] = [];
    for (const [i, result] of results.entries()) {
      const text = textOf(keys[i]);
      const isSame = (r: ModelRecord): boolean => r.tenant === tenant && r.text === text;
      if (result.status === "rejected") {
        expect(result.reason).toMatchObject({ code: "Unavailable", reason: "log_write_failed" });
        if (!this.refused[partition].some(isSame)) {
          this.refused[partition].push({ tenant, text, ms: nowMs });
        }
        continue;
      }
      const { offset, duplicate } = result.value;
      const known = model.findLastIndex((r) => isSame(r) && nowMs - r.ms < WINDOW_MS);
      const inFlight = fresh.find((other) => other.text === text);
      // Entries of an earlier process may be kept for a whole window after its end.
      const isJustOpened = nowMs - this.#openedMs < WINDOW_MS;
      const old = isJustOpened ? model.findLastIndex(isSame) : -1;
      const isRight = duplicate
        ? offset === (inFlight?.offset ?? (known >= 0 ? known : old))
        : known < 0 && inFlight === undefined;
      expect(isRight, `${text} at ${offset}, duplicate ${duplicate}`).toBe(true);
      if (!duplicate) fresh.push({ offset, text });
    }
    for (const { offset, text } of fresh) {
      expect(offset).toBe(model.length);
      model.push({ tenant, text, ms: nowMs });
    }
  }

  async #trim(partition: number, share: number): Promise<void> {
    const end = this.records[partition].length;
    const upTo = Math.floor((end * share) / 10);
    const committed = { acme: upTo, other: Math.floor(upTo / 2) };
    await this.log!.trim(partition, upTo, committed).catch((error: unknown) => {
      expect(error).toMatchObject({ code: "Unavailable" });
      this.#heal();
      return this.log!.trim(partition, upTo, committed);
    });
    this.trimmedTo[partition] = Math.max(this.trimmedTo[partition], upTo);
    expect(this.log!.firstOffset(partition)).toBe(this.trimmedTo[partition]);
    expect(Object.fromEntries(this.log!.committed(partition))).toEqual(committed);
  }

  #check(): void {
    for (let p = 0; p < PARTITIONS; p++) {
      expect(this.log!.durableEnd(p)).toBe(this.records[p].length);
      this.#read(p, 0, 700);
    }
    const { pendingBytes, pendingRecords, records } = this.log!.stats();
    expect([pendingBytes, pendingRecords]).toEqual([0, 0]);
    const kept = this.records.map((list, p) => list.length - this.trimmedTo[p]);
    expect(records).toBe(kept.reduce((a, b) => a + b));
  }

  #read(partition: number, share: number, bytesMax: number): void {
    const model = this.records[partition];
    const from = Math.floor((model.length * share) / 10);
    const { records, gaps } = readAll(this.#dir, partition, { from, to: model.length, bytesMax });
    for (const { offset, tenant, text, appendedMs } of records) {
      expect({ tenant, text, ms: appendedMs }).toEqual(model[offset]);
    }
    let next = from;
    if (gaps.length > 0) {
      expect(gaps).toEqual([{ fromOffset: from, toOffset: gaps[0].toOffset, reason: "trimmed" }]);
      expect(gaps[0].toOffset).toBeLessThanOrEqual(this.trimmedTo[partition]);
      next = gaps[0].toOffset;
    }
    expect(records.map(({ offset }) => offset)).toEqual(
      Array.from({ length: model.length - next }, (_, i) => next + i),
    );
  }
}

describe("file log against a model", () => {
  it("does what the model does, with restarts and a failing disk", async () => {
    let failed = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(ops, { maxLength: 40, size: "max" }), async (steps) => {
        using dir = new TempDir();
        const harness = new Harness(dir.path);
        await harness.run(steps);
        failed += harness.failed;
      }),
      { numRuns: 40 * inject("depth") },
    );
    expect(failed).toBeGreaterThan(15);
  });
});

describe("fault matrix", () => {
  const script: Op[] = [
    { op: "append", partition: 0, tenant: "acme", keys: [1, 2, 3, 4] },
    { op: "append", partition: 1, tenant: "acme", keys: [30, 31, 32, 33] },
    { op: "append", partition: 0, tenant: "other", keys: [30, 31, 32, 33, 34, 35] },
    { op: "trim", partition: 0, share: 5 },
    { op: "append", partition: 0, tenant: "other", keys: [30, 40, 41, 42] },
    { op: "trim", partition: 0, share: 10 },
    { op: "reopen" },
    { op: "append", partition: 0, tenant: "other", keys: [42, 50, 51, 52] },
    { op: "reopen" },
  ];

  const failures: Failure[] = ["before", "half", "after", "short"];
  for (const failure of failures) {
    for (const count of failure === "short" ? [10] : [1, 2, 10]) {
      it(`survives ${count} calls failing ${failure}, whichever is the first`, async () => {
        // A sample of the calls; at depth each of them.
        for (let n = 0, failed = 1; failed > 0; n += inject("depth") === 1 ? 7 : 1) {
          using dir = new TempDir();
          const harness = new Harness(dir.path);
          await harness.run([{ op: "fail", after: n, count, failure }, ...script]);
          failed = harness.failed;
          if (failed === 0) expect(n).toBeGreaterThan(40);
        }
      });
    }
  }
});
