import { Registry } from "prom-client";
import { afterEach, describe, expect, it } from "vitest";
import { openLog } from "#pkg/log/pino-log.ts";
import { askShards } from "./ask-shards.ts";
import { JobPool } from "./job-pool.ts";
import { type QuerierMetrics, querierMetrics } from "./metrics.ts";
import type { ShardsItem } from "./shards-job.ts";

const never = new AbortController().signal;
const cells = new Int32Array(new SharedArrayBuffer(8));
let pool: JobPool;
let metrics: QuerierMetrics;

function open(options: { jobTimeoutMs?: number; queuedMax?: number } = {}): void {
  metrics = querierMetrics(new Registry());
  pool = new JobPool({
    spareThreads: 0,
    nowMs: () => 0,
    threads: 1,
    queuedMax: 10,
    jobTimeoutMs: 60_000,
    ...options,
    entry: new URL("./gate-worker.ts", import.meta.url),
    workerData: { cells },
    metrics,
    log: openLog("silent"),
  });
}

afterEach(async () => {
  await pool.close();
});

/** What the row groups of these keys answer, or why they do not. */
async function ask(keys: readonly string[], signal = never): Promise<string[]> {
  const items = keys.map((key): ShardsItem<"held"> => {
    const place = { store: { kind: "fs" as const, root: "/" }, key, sizeBytes: 0 };
    const request = { ids: new Uint8Array(0) };
    return { place: { ...place, indexOffset: 0, footerOffset: 1 }, rowGroup: 0, request };
  });
  const { outcomes } = await askShards({ pool, metrics }, "held", items, signal);
  return outcomes.map((one) =>
    "error" in one
      ? `${one.error.reason} ${one.error.message}`
      : Buffer.from(one.answer.marks).toString(),
  );
}

async function counted(name: "jobs" | "rowGroupFailures"): Promise<Record<string, number>> {
  const { values } = await metrics[name].get();
  return Object.fromEntries(values.map(({ labels, value }) => [String(labels.outcome), value]));
}

describe("askShards", () => {
  it("asks all in one job", async () => {
    open();
    expect(await ask(["a", "b", "c"])).toEqual(["a", "b", "c"]);
    expect(await counted("jobs")).toEqual({ ok: 1 });
    expect(await counted("rowGroupFailures")).toEqual({});
  });

  it.each(["exit", "throw"])("loses only what the thread died of: %s", async (key) => {
    open();
    const found = await ask(["a", key, "b", key, "c"]);
    const lost = expect.stringMatching(`^worker_died held of block ${key}: its thread died`);
    expect(found).toEqual(["a", lost, "b", lost, "c"]);
    // Twice together and alone; then the rest.
    expect(await counted("jobs")).toEqual({ Unavailable: 4, ok: 1 });
    expect(await counted("rowGroupFailures")).toEqual({ Unavailable: 2 });
  });

  it("does not wait twice for what took too long, and names it", async () => {
    open();
    const startedMs = performance.now();
    await ask(["first"]);
    // Many times what a new thread needs to start while the machine is as busy as now.
    const jobTimeoutMs = Math.ceil(Math.max(3000, 8 * (performance.now() - startedMs)));
    await pool.close();
    open({ jobTimeoutMs });
    const lost = expect.stringMatching(/^job_timeout held of block wait: in one job with others: /);
    expect(await ask(["a", "wait", "b"])).toEqual(["a", lost, "b"]);
    expect(await counted("jobs")).toEqual({ Timeout: 1, ok: 1 });
    expect(await counted("rowGroupFailures")).toEqual({ Timeout: 1 });
  });

  it("fails each by its name when there is no room for the job", async () => {
    open({ queuedMax: 0 });
    const found = await ask(["a", "b"]);
    expect(found.map((text) => text.slice(0, 32))).toEqual([
      "queue_full held of block a: in o",
      "queue_full held of block b: in o",
    ]);
    expect(await counted("rowGroupFailures")).toEqual({ LimitExceeded: 2 });
  });

  it("ends when it is cancelled", async () => {
    open();
    await expect(ask(["a", "b"], AbortSignal.abort())).rejects.toMatchObject({ code: "Canceled" });
    expect(await counted("rowGroupFailures")).toEqual({});
  });
});
