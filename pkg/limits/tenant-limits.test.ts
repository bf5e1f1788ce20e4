import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { defaultLimits, limitOverrides, TenantLimits } from "./tenant-limits.ts";
import { Refusals } from "./refusals.ts";
import { TokenBucket } from "./token-bucket.ts";

describe("limits of a tenant", () => {
  test("are inherited field by field, and change together", () => {
    const limits = new TenantLimits({ queriesMax: 7 });
    let changes = 0;
    limits.onChange(() => changes++);
    const overrides = limitOverrides.parse({ tenants: { shop: { ingestBytesPerSecond: 10 } } });
    limits.setOverrides(overrides);
    expect(limits.of("shop")).toEqual({
      ...defaultLimits,
      queriesMax: 7,
      ingestBytesPerSecond: 10,
    });
    expect(limits.of("other")).toEqual({ ...defaultLimits, queriesMax: 7 });
    limits.setOverrides({ tenants: { other: { queriesMax: 0 } } });
    expect(limits.of("shop").ingestBytesPerSecond).toBe(0);
    expect(limits.of("other").queriesMax).toBe(0);
    expect(changes).toBe(2);
  });

  test("with unknown names or negative values are refused", () => {
    expect(limitOverrides.safeParse({ tenants: { a: { spans: 1 } } }).success).toBe(false);
    expect(limitOverrides.safeParse({ tenants: { a: { queriesMax: -1 } } }).success).toBe(false);
  });
});

describe("token bucket", () => {
  test("admits the burst and then the rate, for any amounts", () => {
    const step = fc.record({ waitMs: fc.nat(2000), amount: fc.integer({ min: 1, max: 500 }) });
    const rate = { perSecond: 100, burst: 200 };
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const bucket = new TokenBucket();
        let nowMs = 1000;
        let taken = 0;
        for (const { waitMs, amount } of steps) {
          nowMs += waitMs;
          if (bucket.take(amount, rate, nowMs) === 0) taken += amount;
          // One request may be larger than the burst.
          expect(taken).toBeLessThanOrEqual(200 + 500 + ((nowMs - 1000) / 1000) * 100);
        }
      }),
    );
  });

  test("admits a client that waits for the advised delay", () => {
    const amounts = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 50 });
    const rate = { perSecond: 37, burst: 111 };
    fc.assert(
      fc.property(amounts, (list) => {
        const bucket = new TokenBucket();
        let nowMs = 5;
        for (const amount of list) {
          const waitMs = bucket.take(amount, rate, nowMs);
          if (waitMs === 0) continue;
          nowMs += waitMs;
          expect(bucket.take(amount, rate, nowMs)).toBe(0);
        }
      }),
      // Amounts whose rounding would cost a further millisecond.
      { examples: [[[131, 207, 35, 68, 60]], [[316, 73, 507, 955, 246, 821, 121, 848, 811, 111]]] },
    );
  });

  test("is full again after a while", () => {
    const rate = { perSecond: 10, burst: 20 };
    const bucket = new TokenBucket();
    bucket.take(20, rate, 0);
    expect(bucket.isFull(rate, 1999)).toBe(false);
    expect(bucket.isFull(rate, 2000)).toBe(true);
  });
});

describe("refusals", () => {
  const clock = {
    nowMs: () => nowMs + steppedMs,
    monotonicMs: () => nowMs,
    sleep: () => Promise.resolve(),
  };
  let nowMs = 0;
  let steppedMs = 0;

  test("count everything, and keep a few examples", () => {
    const refusals = new Refusals(clock, openLog("silent"));
    let asked = 0;
    for (let i = 0; i < 100; i++) {
      nowMs = i * 100;
      const examples = (): string[] => [String(asked++)];
      const note = { tenant: "shop", reason: "ingest_rate", message: `number ${i}`, source: "x" };
      refusals.note({ ...note, examples });
    }
    const [entry, ...others] = refusals.list();
    expect(others).toEqual([]);
    expect(entry).toMatchObject({ count: 100, firstMs: 0, lastMs: 9900 });
    expect(entry.examples.map(({ atMs }) => atMs)).toEqual([9000, 8000, 7000, 6000, 5000]);
    expect(asked).toBe(10);
  });

  test("note an error once, and evict the oldest entry", () => {
    const refusals = new Refusals(clock, openLog("silent"));
    const error = new SpoorError("LimitExceeded", "too fast", { reason: "ingest_rate" });
    refusals.noteError(error, { tenant: "a", source: "inner" });
    refusals.noteError(error, { tenant: "", source: "outer" });
    expect(refusals.list()).toMatchObject([{ tenant: "a", source: "inner", count: 1 }]);
    for (let i = 0; i < 1000; i++) {
      refusals.note({ tenant: `t${i}`, reason: "ingest_rate", message: "", source: "x" });
    }
    expect(refusals.list()).toHaveLength(1000);
    expect(refusals.list().at(-1)).toMatchObject({ tenant: "t0" });
  });

  test("are logged at a bounded rate, with the count of unlogged ones", () => {
    const lines: unknown[] = [];
    const log = { ...openLog("silent"), warn: (fields: object) => lines.push(fields) };
    const refusals = new Refusals(clock, log as never);
    for (let i = 0; i < 300; i++) {
      nowMs = 100_000 + i * 100;
      refusals.note({ tenant: "a", reason: "ingest_rate", message: "m", source: "x" });
    }
    expect(lines).toMatchObject([{ count: 1 }, { count: 100 }, { count: 100 }]);
    // A step of the wall clock, back or forward, neither silences nor floods the log.
    steppedMs = -7_200_000;
    nowMs += 10_000;
    refusals.note({ tenant: "a", reason: "ingest_rate", message: "m", source: "x" });
    expect(lines).toHaveLength(4);
    expect(refusals.list()[0].examples[0].atMs).toBe(nowMs + steppedMs);
    steppedMs = 7_200_000;
    refusals.note({ tenant: "a", reason: "ingest_rate", message: "m", source: "x" });
    expect(lines).toHaveLength(4);
    expect(refusals.list()[0].examples[0].atMs).toBe(nowMs - 7_200_000);
  });
});
