import { Registry } from "prom-client";
import { afterEach, describe, expect, it } from "vitest";
import { openLog } from "#pkg/log/pino-log.ts";
import type { AnswerOf, QuestionName } from "#pkg/questions/question-table.ts";
import { JobPool } from "./job-pool.ts";
import { type QuerierMetrics, querierMetrics } from "./metrics.ts";
import type { ShardsJob } from "./shards-job.ts";

const never = new AbortController().signal;

class Rig {
  readonly cells = new Int32Array(new SharedArrayBuffer(8));
  readonly metrics: QuerierMetrics;
  readonly pool: JobPool;

  constructor(
    options: {
      threads?: number;
      spareThreads?: number;
      queuedMax?: number;
      jobTimeoutMs?: number;
      graceMs?: number;
    } = {},
  ) {
    this.metrics = querierMetrics(new Registry());
    this.pool = new JobPool({
      threads: 1,
      spareThreads: 0,
      nowMs: () => 0,
      queuedMax: 10,
      jobTimeoutMs: 60_000,
      ...options,
      entry: new URL("./gate-worker.ts", import.meta.url),
      workerData: { cells: this.cells },
      metrics: this.metrics,
      log: openLog("silent"),
    });
  }

  async run(key: string, signal: AbortSignal = never): Promise<string> {
    const store = { kind: "fs" as const, root: "/" };
    const place = { store, key, sizeBytes: 0, footerOffset: 1, indexOffset: 0 };
    const items = [{ place, rowGroup: 0, request: { ids: new Uint8Array(0) } }];
    const progress = new Uint8Array(new SharedArrayBuffer(1));
    const job: ShardsJob<"held"> = { kind: "held", key, items, progress };
    const { outcomes } = await this.pool.run<QuestionName>(job as ShardsJob, signal);
    const [one] = outcomes as { answer: AnswerOf<"held"> }[];
    return Buffer.from(one.answer.marks).toString();
  }

  /** Starts a job that holds a thread; resolves when it does. */
  async hold(key = "wait"): Promise<{ done: Promise<string> }> {
    const before = Atomics.load(this.cells, 0);
    const done = this.run(key);
    const { value } = Atomics.waitAsync(this.cells, 0, before);
    await value;
    return { done };
  }

  open(): void {
    Atomics.store(this.cells, 1, 1);
    Atomics.notify(this.cells, 1);
  }

  async replaced(): Promise<Record<string, number>> {
    const { values } = await this.metrics.workersReplaced.get();
    return Object.fromEntries(values.map(({ labels, value }) => [String(labels.reason), value]));
  }
}

let rig: Rig;

afterEach(async () => {
  rig.open();
  await rig.pool.close();
});

describe("JobPool", () => {
  it("runs jobs in the order in which they came, each once", async () => {
    rig = new Rig();
    const { done } = await rig.hold();
    const order: string[] = [];
    const jobs = ["a", "b", "c"].map(async (key) => {
      order.push(await rig.run(key));
    });
    expect(rig.pool.queued).toBe(3);
    rig.open();
    await Promise.all([done, ...jobs]);
    expect(order).toEqual(["a", "b", "c"]);
    expect(rig.pool.queued).toBe(0);
  });

  it("refuses a job when the queue is full, and takes it later", async () => {
    rig = new Rig({ queuedMax: 2 });
    const { done } = await rig.hold();
    const waiting = [rig.run("a"), rig.run("b")];
    await expect(rig.run("c")).rejects.toMatchObject({
      code: "LimitExceeded",
      reason: "queue_full",
      retryAfterMs: 1000,
    });
    rig.open();
    await Promise.all([done, ...waiting]);
    expect(await rig.run("c")).toBe("c");
  });

  it("drops a job that is cancelled while it waits", async () => {
    rig = new Rig();
    const { done } = await rig.hold();
    const gone = new AbortController();
    const job = rig.run("never", gone.signal);
    gone.abort();
    await expect(job).rejects.toMatchObject({ code: "Canceled" });
    expect(rig.pool.queued).toBe(0);
    rig.open();
    expect(await done).toBe("wait");
    const { values } = await rig.metrics.jobs.get();
    expect(values.map(({ value }) => value)).toEqual([1]);
  });

  it("lets tenants take turns, and one without a thread have a spare one", async () => {
    rig = new Rig({ spareThreads: 1 });
    const order: string[] = [];
    const run = async (key: string): Promise<void> => {
      order.push(await rig.run(key));
    };
    const { done } = await rig.hold("many/wait");
    const many = ["many/1", "many/2"].map(run);
    // The only thread is busy with the other tenant's job.
    await run("few/1");
    expect(order).toEqual(["few/1"]);
    expect(rig.pool.queued).toBe(2);
    rig.open();
    await Promise.all([done, ...many]);
    expect(order).toEqual(["few/1", "many/1", "many/2"]);
  });

  it("ends the thread of a cancelled job that does not stop in time", async () => {
    rig = new Rig({ graceMs: 1 });
    const gone = new AbortController();
    const before = Atomics.load(rig.cells, 0);
    const job = rig.run("wait", gone.signal);
    await Atomics.waitAsync(rig.cells, 0, before).value;
    gone.abort();
    await expect(job).rejects.toMatchObject({ code: "Canceled" });
    // The gate is shut: only a new thread can answer.
    expect(await rig.run("next")).toBe("next");
    expect(await rig.replaced()).toEqual({ canceled: 1 });
  });

  it("lets go of a running job that is cancelled, and its thread goes on", async () => {
    rig = new Rig({ graceMs: 60_000 });
    const gone = new AbortController();
    const before = Atomics.load(rig.cells, 0);
    const job = rig.run("wait", gone.signal);
    await Atomics.waitAsync(rig.cells, 0, before).value;
    gone.abort();
    await expect(job).rejects.toMatchObject({ code: "Canceled" });
    rig.open();
    expect(await rig.run("next")).toBe("next");
    expect(await rig.replaced()).toEqual({});
  });

  it("refuses a job whose signal has aborted already", async () => {
    rig = new Rig();
    await expect(rig.run("a", AbortSignal.abort())).rejects.toMatchObject({ code: "Canceled" });
  });

  it("replaces a thread that does not answer in time", async () => {
    rig = new Rig();
    const startedMs = performance.now();
    await rig.run("first");
    // Many times what a new thread needs to start while the machine is as busy as now.
    const jobTimeoutMs = Math.ceil(Math.max(3000, 8 * (performance.now() - startedMs)));
    await rig.pool.close();
    rig = new Rig({ jobTimeoutMs });
    const done = rig.run("wait");
    const next = rig.run("next");
    await expect(done).rejects.toMatchObject({ code: "Timeout", reason: "job_timeout" });
    expect(await next).toBe("next");
    expect(await rig.replaced()).toEqual({ timeout: 1 });
  });

  it.each(["exit", "throw"])("replaces a thread that dies in a job: %s", async (key) => {
    rig = new Rig();
    const job = rig.run(key);
    const next = rig.run("next");
    await expect(job).rejects.toMatchObject({ code: "Unavailable", reason: "worker_died" });
    expect(await next).toBe("next");
    expect(await rig.replaced()).toEqual({ died: 1 });
  });

  it("goes on when threads die again and again", async () => {
    rig = new Rig({ threads: 2 });
    const jobs = Array.from({ length: 10 }, (_, i) =>
      rig.run(i % 2 === 0 ? "exit" : `ok ${i}`).catch((error: Error) => error.name),
    );
    const expected = Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? "SpoorError" : `ok ${i}`));
    expect(await Promise.all(jobs)).toEqual(expected);
  });

  it("fails waiting and running jobs when it closes", async () => {
    rig = new Rig();
    const { done } = await rig.hold();
    const jobs = [done, rig.run("a")].map(async (job) => {
      await expect(job).rejects.toMatchObject({ code: "Unavailable", reason: "stopping" });
    });
    await rig.pool.close();
    await Promise.all(jobs);
    await expect(rig.run("b")).rejects.toMatchObject({ reason: "stopping" });
  });
});
