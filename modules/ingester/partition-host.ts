/**
 * The main thread's end of one partition: starts its worker (again, if it dies), tells it what is
 * durable, hands closed heads to the committer, trims the log, pins heads for queries.
 */
import { randomUUID } from "node:crypto";
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import {
  type AnswerOf,
  type QuestionName,
  questionOf,
  type RequestOf,
} from "#pkg/questions/questions.ts";
import type { HeadRef } from "#pkg/questions/shards.ts";
import { Rpc } from "#pkg/rpc/rpc.ts";
import { SharedNumber } from "#pkg/rpc/shared-number.ts";
import { type StartThread, startWorker, type Thread } from "#pkg/rpc/thread.ts";
import type { Limits, TenantLimits } from "#pkg/limits/limits.ts";
import type { Refusals } from "#pkg/limits/refusals.ts";
import type { SpanLog } from "#pkg/spanlog/spanlog.ts";
import { Committer, type CommitterOptions } from "./committer.ts";
import type { IngesterConfig } from "./config.ts";
import type { PinnedData } from "./live-head.ts";
import type { LivePool } from "./live-pool.ts";
import type {
  ClosedHead,
  CutNotice,
  LargeTracesNotice,
  PartitionState,
  PartitionWorkerData,
  PinAnswer,
  RecordLimits,
} from "./messages.ts";
import type { LookUp } from "./partition.ts";
import { headRef, staleHead } from "./head-ref.ts";

export interface PartitionHostOptions extends Omit<
  CommitterOptions,
  "onCommitted" | "assertOwner" | "durableEnd"
> {
  spanLog: SpanLog;
  config: IngesterConfig;
  headBytesMax: number;
  refusals: Refusals;
  /** Threads that search heads. */
  searches: LivePool;
  /** A worker thread unless given. */
  startThread?: StartThread;
  /** Tenant -> how many of its offsets its table had reached once, and neither has any more. */
  lostCommits: Map<string, number>;
  /** Tenants whose table cannot be read. */
  blocked: Set<string>;
}

export interface HostPin {
  heads: HeadRef[];
  /** Why the heads may lack acknowledged spans; empty if they do not. */
  incomplete: string[];
  release: () => void;
}

/** A worker reads what is durable within milliseconds: a short lag is not worth a warning. */
const behindRecordsShown = 2000;
const restartMs = 1000;
/** Pause after a trim that failed. */
const trimRetryMs = 30_000;

export class PartitionHost {
  readonly index: number;
  readonly #options: PartitionHostOptions;
  readonly #log: Log;
  readonly #committer: Committer;
  readonly #unsubscribe: () => void;
  readonly #durable: SharedNumber = new SharedNumber();
  readonly #caughtUp: PromiseWithResolvers<void> = Promise.withResolvers<void>();
  readonly #stopping: AbortController = new AbortController();
  /** Tenant -> offset that its table had reached, as told to the log; never goes back. */
  readonly #toldLog: Map<string, number>;
  #worker: Thread | undefined;
  #rpc: Rpc | undefined;
  /** Of the worker that runs now: pins are its own. */
  #workerId = "";
  #isCaughtUp = false;
  /** Settles when the last trim is done; never rejects. */
  #trimming: Promise<void> = Promise.resolve();
  #trimsWaiting = 0;
  #isTrimPlanned = false;

  constructor(options: PartitionHostOptions) {
    const { spanLog, partition, committed } = options;
    this.index = partition.index;
    this.#options = options;
    this.#log = options.log.child({ partition: this.index });
    this.#toldLog = new Map(spanLog.committed(this.index));
    for (const [tenant, offset] of committed) this.#noteForLog(tenant, offset);
    this.#committer = new Committer({
      ...options,
      log: this.#log,
      assertOwner: () => spanLog.assertOwner(),
      durableEnd: () => spanLog.durableEnd(this.index),
      onCommitted: (head) => this.#afterCommit(head),
    });
    this.#unsubscribe = spanLog.subscribe(this.index, (end) => this.#durable.set(end));
    this.#durable.set(spanLog.durableEnd(this.index));
    this.#startWorker();
  }

  get isCaughtUp(): boolean {
    return this.#isCaughtUp;
  }

  /** Resolves when a worker has read what was durable when it started. */
  caughtUp(): Promise<void> {
    return this.#caughtUp.promise;
  }

  /**
   * Whether the tenant's heads wait for a store that fails for it but not for all: taking more of
   * its spans would only take memory from tenants whose spans can be stored.
   */
  isHeldUp(tenant: string): boolean {
    return this.#committer.isHeldUp(tenant, this.#options.config.closedHeadsMax);
  }

  async state(): Promise<PartitionState> {
    return (await this.#live().call("state", undefined)) as PartitionState;
  }

  /** Unavailable while the worker is started again; Canceled. */
  async pin(tenant: string, signal: AbortSignal): Promise<HostPin> {
    const rpc = this.#live();
    const worker = this.#workerId;
    const release = ({ pinId }: PinAnswer): void => rpc.notify("release", pinId);
    const asked = rpc.call("pin", tenant) as Promise<PinAnswer>;
    const answer = await unlessAborted(asked, signal, release);
    const { partition, appId } = this.#options;
    const place = { partition, appId, tenant, worker, pinId: answer.pinId };
    return {
      heads: answer.heads.map((info) => headRef(info, place)),
      incomplete: this.#incomplete(tenant, answer),
      release: () => release(answer),
    };
  }

  /**
   * Asks a head that was pinned here. The thread that holds it looks up what takes no search, and
   * lends it to the threads that search.
   */
  async ask<K extends QuestionName>(
    question: K,
    { shard, request }: { shard: HeadRef; request: RequestOf<K> },
    signal: AbortSignal,
  ): Promise<AnswerOf<K>> {
    const rpc = this.#live();
    const { worker, pinId, headId } = shard.pin;
    if (worker !== this.#workerId) throw staleHead(shard);
    if (questionOf(question).ofHeads === "lookUp") {
      const call: LookUp = { question, pinId, headId, request };
      return (await rpc.call("lookUp", call, signal)) as AnswerOf<K>;
    }
    // Each time: what is not held any more must not be read, and its memory must come back.
    const head = (await rpc.call("lend", { pinId, headId }, signal)) as PinnedData;
    return await this.#options.searches.ask(shard.tenant, { question, head, request }, signal);
  }

  #incomplete(tenant: string, { behindRecords, stalled, lostRecords }: PinAnswer): string[] {
    const where = `partition ${this.index}`;
    const out: string[] = [];
    const isWaiting = stalled && behindRecords > 0;
    if (!this.#isCaughtUp || isWaiting || behindRecords > behindRecordsShown) {
      out.push(`${where}: ${behindRecords} log records are not readable yet`);
    }
    if (lostRecords > 0) out.push(`${where}: ${lostRecords} log records are damaged`);
    const lostCommits = this.#options.lostCommits.get(tenant);
    if (lostCommits !== undefined) {
      out.push(`${where}: the table was set back by up to ${lostCommits} log records`);
    }
    return out;
  }

  /** Reads the log to its end, closes all heads and waits until they are committed. */
  async flush(): Promise<void> {
    await this.#live().call("flush", this.#options.spanLog.durableEnd(this.index));
    await this.#committer.idle();
    await this.#trimming;
  }

  /** Heads that are not committed stay in the log. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#unsubscribe();
    this.#rpc?.close(new SpoorError("Unavailable", "the ingester is stopping"));
    await Promise.all([this.#committer.stop(), this.#worker?.terminate()]);
    await this.#trimming;
  }

  #live(): Rpc {
    if (this.#rpc !== undefined) return this.#rpc;
    throw new SpoorError("Unavailable", "its worker is being started again", {
      reason: "worker_restarting",
    });
  }

  #startWorker(): void {
    const { spanLog, logConfig, config, headBytesMax, committed, blocked } = this.#options;
    const { startThread = startWorker } = this.#options;
    const data: PartitionWorkerData = {
      logConfig,
      partition: this.index,
      fromOffset: spanLog.firstOffset(this.index),
      durableEnd: spanLog.durableEnd(this.index),
      durable: this.#durable.buffer,
      committed,
      blocked,
      config,
      limits: recordLimits(this.#options.limits),
      headBytesMax,
    };
    const worker = startThread(new URL("partition-worker.ts", import.meta.url), data);
    this.#worker = worker;
    const rpc = new Rpc(worker, {
      closed: (head: ClosedHead) => this.#committer.enqueue(head),
      undecodable: (record: { tenant: string; offset: number; message: string }) => {
        this.#log.error({ ...record }, "a log record does not decode");
        this.#committer.noteUndecodable(record.tenant, record.offset);
      },
      cut: (notice: CutNotice) => this.#noteCut(notice),
      largeTraces: (notice: LargeTracesNotice) => this.#noteLargeTraces(notice),
      lost: (range: { fromOffset: number; toOffset: number }) => {
        this.#log.error({ ...range }, "log records are damaged, their spans are lost");
      },
      readFailed: (message: string) => this.#log.error({ error: message }, "log read failed"),
      caughtUp: () => {
        this.#isCaughtUp = true;
        this.#caughtUp.resolve();
        this.#trimWith(rpc.call("state", undefined));
      },
    });
    this.#rpc = rpc;
    this.#workerId = randomUUID();
    worker.once("error", (error: Error) => {
      this.#log.error({ error: error.message, stack: error.stack }, "partition worker failed");
    });
    worker.once("exit", () => void this.#onExit());
  }

  /** A worker that died lost only memory: a new one reads the log again. Never rejects. */
  async #onExit(): Promise<void> {
    const { clock, metrics } = this.#options;
    const { signal } = this.#stopping;
    this.#rpc?.close(new SpoorError("Unavailable", `worker of partition ${this.index} died`));
    this.#rpc = undefined;
    this.#isCaughtUp = false;
    if (signal.aborted) return;
    metrics.workerRestarts.inc();
    try {
      // Closed heads are in shared memory still: what they commit must not be read again.
      await this.#committer.idle();
      await clock.sleep(restartMs, signal);
      if (!signal.aborted) this.#startWorker();
    } catch (error) {
      // Stopped meanwhile, or given up for a reason that ends the process.
      if (!signal.aborted) this.#log.error({ error: String(error) }, "worker stays stopped");
    }
  }

  /**
   * The table of a blocked tenant can be read: `offset` is what it has reached, if anything. The
   * log is read again by a new worker, as after the death of one.
   */
  async unblock(tenant: string, offset: number | undefined, lostRecords: number): Promise<void> {
    const { committed, blocked, lostCommits } = this.#options;
    blocked.delete(tenant);
    if (offset === undefined) committed.delete(tenant);
    else {
      committed.set(tenant, offset);
      this.#noteForLog(tenant, offset);
    }
    if (lostRecords > 0) lostCommits.set(tenant, lostRecords);
    await this.#worker?.terminate();
  }

  /** The limits of tenants have changed. */
  sendLimits(): void {
    this.#rpc?.notify("limits", recordLimits(this.#options.limits));
  }

  #noteCut({ tenant, counts, examples }: CutNotice): void {
    const { metrics, refusals } = this.#options;
    const { keys, values, attributes } = counts;
    metrics.cutAttributes.inc({ tenant, reason: "attribute_key_bytes" }, keys);
    metrics.cutAttributes.inc({ tenant, reason: "attribute_value_bytes" }, values);
    metrics.cutAttributes.inc({ tenant, reason: "attributes_per_span" }, attributes);
    refusals.note({
      tenant,
      reason: "attributes_cut",
      source: "ingester",
      message: `${keys} keys and ${values} values were cut, ${attributes} attributes left out`,
      count: keys + values + attributes,
      examples: () => examples,
    });
  }

  #noteLargeTraces({ tenant, count, examples, spansMax }: LargeTracesNotice): void {
    const { metrics, refusals } = this.#options;
    metrics.largeTraces.inc({ tenant }, count);
    refusals.note({
      tenant,
      reason: "large_trace",
      source: "ingester",
      message: `traces with up to ${spansMax} spans in one head; they are kept`,
      count,
      examples: () => examples,
    });
  }

  #afterCommit({ tenant, headId, toOffset }: ClosedHead): void {
    this.#noteForLog(tenant, toOffset);
    if (this.#rpc !== undefined) this.#trimWith(this.#rpc.call("committed", { tenant, headId }));
  }

  #noteForLog(tenant: string, offset: number): void {
    this.#toldLog.set(tenant, Math.max(offset, this.#toldLog.get(tenant) ?? 0));
  }

  /** After a failure no commit may come that would trim again. Never rejects. */
  async #trimLater(): Promise<void> {
    if (this.#isTrimPlanned) return;
    this.#isTrimPlanned = true;
    const { signal } = this.#stopping;
    try {
      await this.#options.clock.sleep(trimRetryMs, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.#isTrimPlanned = false;
    }
    if (!signal.aborted && this.#rpc !== undefined) {
      this.#trimWith(this.#rpc.call("state", undefined));
    }
  }

  /** Trims the log to what a worker's state allows; of several waiting trims only the last. */
  #trimWith(state: Promise<unknown>): void {
    // A worker that died says nothing: the next one will.
    const known = (state as Promise<PartitionState>).catch(() => undefined);
    this.#trimsWaiting++;
    this.#trimming = this.#trimming.then(async () => {
      const trimTo = (await known)?.trimTo;
      this.#trimsWaiting--;
      if (trimTo === undefined || this.#trimsWaiting > 0) return;
      try {
        await this.#options.spanLog.trim(this.index, trimTo, Object.fromEntries(this.#toldLog));
      } catch (error) {
        // The log keeps more than it must until the next trim.
        this.#log.error({ error: toSpoorError(error).message }, "the log could not be trimmed");
        void this.#trimLater();
      }
    });
  }
}

/** Stops waiting when `signal` aborts; `late` gets an answer that comes afterwards. */
async function unlessAborted<T>(
  work: Promise<T>,
  signal: AbortSignal,
  late: (value: T) => void,
): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => {
    aborted.reject(new SpoorError("Canceled", "pinning heads was canceled"));
    work.then(late, () => "nothing was pinned");
  };
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** What workers need of the limits, as plain data. */
function recordLimits(limits: TenantLimits): RecordLimits {
  const tenants = [...limits.overrides].map(([tenant, own]) => [tenant, recordPart(own)] as const);
  return { defaults: recordPart(limits.defaults), tenants: new Map(tenants) };
}

function recordPart(limits: Limits): RecordLimits["defaults"] {
  const { attributeKeyBytesMax, attributeValueBytesMax, attributesPerSpanMax } = limits;
  const { traceSpansMax } = limits;
  return { attributeKeyBytesMax, attributeValueBytesMax, attributesPerSpanMax, traceSpansMax };
}
