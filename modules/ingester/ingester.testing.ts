/** Test support: a real ingester over a real log and a store in a folder, with fault injection. */
import { randomBytes } from "node:crypto";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import { Registry } from "prom-client";
import { openBlock } from "#pkg/block/reader.ts";
import { type Clock, systemClock } from "#pkg/clock/clock.ts";
import { canonicalSpans } from "#pkg/columns/canonical.ts";
import { readSpans } from "#pkg/columns/spans.ts";
import { type SpanSpec, traceDataOf } from "#pkg/engine/testing/spans.ts";
import type { SpoorError } from "#pkg/errors/errors.ts";
import { type FaultPlan, faultStore } from "#pkg/objstore/fault.testing.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import { splitRequest } from "#pkg/otlp/split.ts";
import type { AnswerOf, QuestionName, RequestOf } from "#pkg/questions/question-table.ts";
import type { HeadRef } from "#pkg/questions/shards.ts";
import { type StartThread, startWorker } from "#pkg/threads/thread.ts";
import { partitionOf } from "#pkg/otlp/trace-hash.ts";
import { type FileLogOptions, openFileLog } from "#pkg/spanlog/file-log.ts";
import { KeptLog } from "#pkg/spanlog/span-log.testing.ts";
import { TenantLimits } from "#pkg/limits/tenant-limits.ts";
import { Refusals } from "#pkg/limits/refusals.ts";
import { noTracer } from "#pkg/selftrace/selftrace.ts";
import type { SpanLog } from "#pkg/spanlog/span-log.ts";
import { openTable, type Table } from "#pkg/table/delta-table.ts";
import { ingesterConfig } from "./config.ts";
import type { Cutter } from "./cutter.ts";
import { Ingester, type IngesterOptions } from "./ingester.ts";
import { threadsHere } from "./threads-here.testing.ts";

export const partitionCount = 4;
const signal: AbortSignal = new AbortController().signal;

/** The system's clock, with sleeps of at most 10 ms. */
export const quickClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, aborted) => systemClock.sleep(Math.min(ms, 10), aborted),
};

export interface TestIngesterOptions {
  dir: string;
  config?: Partial<IngesterOptions["config"]>;
  logOptions?: Partial<FileLogOptions>;
  clock?: Clock;
  /** Creates the cutter instead of `makeCutter`. */
  cutter?: (config: IngesterOptions["config"], startThread: StartThread) => Cutter;
  /** Whether `faults` applies to uploads of blocks too. */
  faultyUploads?: boolean;
  /** Whether programs of threads run on worker threads, as in production, not in this thread. */
  realThreads?: boolean;
}

function startThreadOf(options: TestIngesterOptions, store: ObjectStore): StartThread {
  const { realThreads = false, faultyUploads = false } = options;
  if (realThreads) return startWorker;
  return faultyUploads ? threadsHere({ open: async () => store }) : threadsHere();
}

/** A running ingester. Stop it before another one uses the same folder. */
export class TestIngester {
  readonly dir: string;
  readonly ingester: Ingester;
  readonly spanLog: SpanLog;
  /** The store without injected faults. */
  readonly store: ObjectStore;
  readonly log: KeptLog = new KeptLog();
  readonly registry: Registry = new Registry();
  readonly limits: TenantLimits = new TenantLimits();
  readonly refusals: Refusals = new Refusals(systemClock, this.log);
  readonly fatal: SpoorError[] = [];
  /** Decides which store calls fail; those of cutter threads only with `faultyUploads`. */
  faults: FaultPlan = () => "none";
  readonly #tables = new Map<string, Table>();

  constructor(options: TestIngesterOptions, parts: { spanLog: SpanLog; store: ObjectStore }) {
    const { dir, clock = quickClock } = options;
    const config = ingesterConfig.parse(options.config ?? {});
    this.dir = dir;
    this.spanLog = parts.spanLog;
    this.store = parts.store;
    const store = faultStore(parts.store, (call) => this.faults(call));
    const startThread = startThreadOf(options, store);
    this.ingester = new Ingester({
      config,
      spanLog: parts.spanLog,
      logConfig: { kind: "file", dir: join(dir, "log") },
      quarantineDir: join(dir, "quarantine"),
      store,
      storeConfig: { kind: "fs", root: join(dir, "bucket") },
      tableOf: (tenant) => this.#tableOf(tenant, store, clock),
      limits: this.limits,
      tracer: noTracer,
      refusals: this.refusals,
      clock,
      log: this.log,
      registry: this.registry,
      startThread,
      cutter: options.cutter?.(config, startThread),
      onFatal: (error) => this.fatal.push(error),
    });
  }

  #tableOf(tenant: string, store: ObjectStore, clock: Clock): Table {
    let table = this.#tables.get(tenant);
    if (table === undefined) {
      table = openTable({ store, tenant, clock, log: this.log });
      this.#tables.set(tenant, table);
    }
    return table;
  }

  /** Returns the appId of a partition. */
  appId(partition: number): string {
    return `${this.spanLog.id}/${partitionCount}/${partition}`;
  }

  async append(tenant: string, specs: readonly SpanSpec[]): Promise<void> {
    const { parts } = splitRequest(encodeTraceData(traceDataOf(specs)), { partitionCount });
    for (const { partition, record } of parts) {
      await this.spanLog.append(partition, tenant, record);
    }
  }

  /** Waits until every durable record has been read. */
  async readAll(): Promise<void> {
    await eventually(async () => {
      const states = await this.ingester.states();
      return (
        states.length === partitionCount &&
        states.every(({ nextOffset, durableEnd }) => nextOffset === durableEnd)
      );
    });
  }

  /** Asks one head; throws the error of its outcome. */
  async ask<K extends QuestionName>(
    question: K,
    shard: HeadRef,
    request: RequestOf<K>,
    own: AbortSignal = signal,
  ): Promise<AnswerOf<K>> {
    const { outcomes } = await this.ingester.ask(question, [{ shard, request }], own);
    const [outcome] = outcomes;
    if ("error" in outcome) throw outcome.error;
    return outcome.answer;
  }

  /** Returns all spans of these traces that live queries find. */
  async live(tenant: string, specs: readonly SpanSpec[]): Promise<string[]> {
    const pinned = await this.ingester.pin(tenant, signal);
    const out: string[] = [];
    for (const traceId of new Set(specs.map((spec) => spec.traceId))) {
      for (const head of pinned.heads) {
        const found = await this.ask("trace", head, { traceId: Buffer.from(traceId, "hex") });
        for (const piece of found) out.push(...canonicalSpans(decodeTraceData(piece)));
      }
    }
    pinned.release();
    return out.sort();
  }

  /** Returns the reasons why live queries of a tenant may lack spans. */
  async incomplete(tenant: string): Promise<string[]> {
    const pinned = await this.ingester.pin(tenant, signal);
    pinned.release();
    return pinned.incomplete;
  }

  /** Reads all spans of all blocks of a tenant's table without the ingester. */
  async stored(tenant: string): Promise<string[]> {
    const { files } = await this.openTable(tenant).refresh();
    const out: string[] = [];
    for (const { path, sizeBytes } of files.values()) {
      const reader = await openBlock({ store: this.store, key: `${tenant}/${path}`, sizeBytes });
      for (let i = 0; i < reader.rowGroups.length; i++) {
        const batch = await reader.readRowGroup(i);
        out.push(...canonicalSpans(readSpans(batch, [...Array(batch.rows).keys()])));
      }
      reader.close();
    }
    return out.sort();
  }

  /** Opens a tenant's table as another process would. */
  openTable(tenant: string): Table {
    return openTable({ store: this.store, tenant, clock: systemClock, log: this.log });
  }

  /** Returns name -> bytes of a tenant's quarantined records. */
  async quarantined(tenant: string): Promise<Map<string, Buffer>> {
    const folder = join(this.dir, "quarantine", tenant);
    const out = new Map<string, Buffer>();
    const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw error;
    });
    for (const name of names) out.set(name, await readFile(join(folder, name)));
    return out;
  }

  /** Scrapes a metric and returns the sum over its labels. */
  async metric(name: string): Promise<number> {
    const text = await this.registry.metrics();
    const pattern = new RegExp(`^spoor_ingester_${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm");
    return [...text.matchAll(pattern)].reduce((sum, [, value]) => sum + Number(value), 0);
  }

  messages(): string[] {
    return this.log.lines.map(({ message }) => message);
  }

  async stop(): Promise<void> {
    await this.ingester.stop();
    await this.spanLog.close();
  }
}

/** Starts an ingester and waits until it has read the log. */
export async function startIngester(options: TestIngesterOptions): Promise<TestIngester> {
  const running = await openIngester(options);
  await running.ingester.start();
  await running.ingester.caughtUp();
  return running;
}

/** Opens an ingester without starting it. */
export async function openIngester(options: TestIngesterOptions): Promise<TestIngester> {
  const { dir, logOptions } = options;
  const store = await openFsStore(join(dir, "bucket"));
  const log = new KeptLog();
  const spanLog = await openFileLog(join(dir, "log"), {
    clock: systemClock,
    log,
    partitionCount,
    freeBytesMin: 0,
    ...logOptions,
  });
  return new TestIngester(options, { spanLog, store });
}

export class TempFolder implements AsyncDisposable {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  static async make(): Promise<TempFolder> {
    return new TempFolder(await mkdtemp(join(tmpdir(), "spoor-ingester-")));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

/** Waits until the condition is true; the test's own timeout ends the wait. */
export async function eventually(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await sleep(5);
}

/** Returns a trace of `spanCount` spans that starts now; in `partition` if given. */
export function makeTrace(
  spanCount: number,
  options: Partial<SpanSpec> & { partition?: number } = {},
): SpanSpec[] {
  const { partition, ...rest } = options;
  const traceId = randomTraceId(partition);
  const startNano = BigInt(Date.now()) * 1_000_000n;
  return Array.from({ length: spanCount }, (_, i) => ({
    traceId,
    spanId: randomBytes(8).toString("hex"),
    service: "shop",
    name: `step ${i}`,
    startNano: startNano + BigInt(i),
    endNano: startNano + 1000n,
    attributes: { number: String(i) },
    ...rest,
  }));
}

function randomTraceId(partition: number | undefined): string {
  for (;;) {
    const id = randomBytes(16);
    if (partition === undefined || partitionOf(id, 0, partitionCount) === partition) {
      return id.toString("hex");
    }
  }
}

/** Returns what `live` and `stored` return for these spans. */
export function expected(...traces: readonly (readonly SpanSpec[])[]): string[] {
  return traces.flatMap((specs) => canonicalSpans(traceDataOf(specs))).sort();
}

/** Observes every started thread until disposed. */
export class ThreadWatch implements Disposable {
  readonly workers: Worker[] = [];
  readonly #onThread: (message: unknown) => void;

  constructor(onThread: (worker: Worker) => void = () => {}) {
    this.#onThread = (message) => {
      const { worker } = message as { worker: Worker };
      this.workers.push(worker);
      onThread(worker);
    };
    subscribe("worker_threads", this.#onThread);
  }

  [Symbol.dispose](): void {
    unsubscribe("worker_threads", this.#onThread);
  }
}
