import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TenantLimits } from "#pkg/limits/tenant-limits.ts";
import { QueryQueue } from "./query-queue.ts";

const never: AbortSignal = new AbortController().signal;

interface Held {
  tenant: string;
  end: () => void;
}

/** Queries that run until the test ends them. */
class Bench {
  readonly queue: QueryQueue;
  readonly running: Held[] = [];
  /** Tenants in the order of their queries' starts. */
  readonly started: string[] = [];
  readonly refused: string[] = [];
  nowMs = 0;

  constructor(options: {
    runningMax: number;
    tenantRunningMax?: number;
    queriesMax?: number;
    limits?: TenantLimits;
  }) {
    const { runningMax, queriesMax = 1000, limits = new TenantLimits() } = options;
    const { tenantRunningMax = 1000 } = options;
    const nowMs = (): number => this.nowMs;
    this.queue = new QueryQueue({ runningMax, tenantRunningMax, queriesMax, limits, nowMs });
  }

  ask(tenant: string, signal = never): Promise<void> {
    const work = async (): Promise<void> => {
      this.started.push(tenant);
      const { promise, resolve } = Promise.withResolvers<void>();
      const held: Held = { tenant, end: resolve };
      this.running.push(held);
      await promise;
      this.running.splice(this.running.indexOf(held), 1);
    };
    return this.queue.run(tenant, signal, work).catch((error: Error & { reason?: string }) => {
      this.refused.push(error.reason ?? error.name);
    });
  }

  async endOne(): Promise<void> {
    this.running[0]?.end();
    await settle();
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

describe("queries of tenants", () => {
  test("take turns: a tenant with many queries delays only itself", async () => {
    const bench = new Bench({ runningMax: 1 });
    const all = ["many", "many", "many", "many", "one", "other"].map((name) => bench.ask(name));
    await settle();
    while (bench.running.length > 0) await bench.endOne();
    await Promise.all(all);
    expect(bench.started).toEqual(["many", "many", "one", "other", "many", "many"]);
  });

  test("never exceed the tenant's own limit, even with free slots", async () => {
    const limits = new TenantLimits();
    limits.setOverrides({ tenants: { small: { queriesMax: 2, queriesQueuedMax: 1 } } });
    const bench = new Bench({ runningMax: 10, limits });
    const all = ["small", "small", "small", "small", "large"].map((name) => bench.ask(name));
    await settle();
    expect(bench.started).toEqual(["small", "small", "large"]);
    expect(bench.refused).toEqual(["queries_queued"]);
    await bench.endOne();
    expect(bench.started).toEqual(["small", "small", "large", "small"]);
    while (bench.running.length > 0) await bench.endOne();
    await Promise.all(all);
  });

  test("are limited to a share of the slots by default", async () => {
    const bench = new Bench({ runningMax: 4, tenantRunningMax: 3 });
    const all = ["many", "many", "many", "many", "many", "one"].map((name) => bench.ask(name));
    await settle();
    expect(bench.started).toEqual(["many", "many", "many", "one"]);
    while (bench.running.length > 0) await bench.endOne();
    await Promise.all(all);
  });

  test("take turns by the time that their queries took", async () => {
    const bench = new Bench({ runningMax: 1 });
    const all = ["heavy", "heavy", "light", "light", "light"].map((name) => bench.ask(name));
    await settle();
    while (bench.running.length > 0) {
      bench.nowMs += bench.running[0].tenant === "heavy" ? 1000 : 10;
      await bench.endOne();
    }
    await Promise.all(all);
    expect(bench.started).toEqual(["heavy", "light", "light", "light", "heavy"]);
  });

  test("leave the queue when they are aborted", async () => {
    const bench = new Bench({ runningMax: 1 });
    const abort = new AbortController();
    const all = [bench.ask("a"), bench.ask("a", abort.signal), bench.ask("b")];
    await settle();
    expect(bench.queue.waiting).toBe(2);
    abort.abort();
    await settle();
    expect(bench.queue).toMatchObject({ running: 1, waiting: 1 });
    expect(bench.refused).toEqual(["AbortError"]);
    while (bench.running.length > 0) await bench.endOne();
    await Promise.all(all);
    expect(bench.started).toEqual(["a", "b"]);
  });

  test("never exceed a limit, and all of them end", async () => {
    const step = fc.record({
      tenant: fc.constantFrom("a", "b", "c"),
      kind: fc.constantFrom("ask", "ask", "ask", "end", "abort"),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const limits = new TenantLimits({ queriesMax: 2, queriesQueuedMax: 3 });
        const bench = new Bench({ runningMax: 4, queriesMax: 9, limits });
        const aborts: AbortController[] = [];
        const all: Promise<void>[] = [];
        let asked = 0;
        for (const { tenant, kind } of steps) {
          if (kind === "ask") {
            asked++;
            const abort = new AbortController();
            aborts.push(abort);
            all.push(bench.ask(tenant, abort.signal));
          } else if (kind === "abort") aborts.shift()?.abort();
          else await bench.endOne();
          await settle();
          const { running, waiting } = bench.queue;
          expect(bench.running.length).toBe(running);
          expect(running).toBeLessThanOrEqual(4);
          expect(running + waiting).toBeLessThanOrEqual(9);
          for (const name of ["a", "b", "c"]) {
            expect(bench.running.filter((one) => one.tenant === name).length).toBeLessThan(3);
          }
        }
        while (bench.running.length > 0) await bench.endOne();
        await Promise.all(all);
        expect(bench.queue).toMatchObject({ running: 0, waiting: 0 });
        expect(bench.started.length + bench.refused.length).toBe(asked);
      }),
    );
  });
});
