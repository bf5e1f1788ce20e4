/**
 * The main thread's side of one partition: starts and restarts its worker, publishes the durable
 * end to it, passes closed heads to the committer, trims the log and pins heads for queries.
 */
import { randomUUID } from "node:crypto";
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import {
  type AnswerOf,
  type HeadRef,
  type QuestionName,
  questionOf,
  type RequestOf,
} from "#pkg/questions/questions.ts";
import {
  Rpc,
  SharedNumber,
  type StartThread,
  startWorker,
  type Thread,
} from "#pkg/threads/threads.ts";
import type { Limits, Refusals, TenantLimits } from "#pkg/limits/limits.ts";
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
  /** Starts the thread; a worker thread by default. */
  startThread?: StartThread;
  /** Tenant -> number of committed records that neither its table nor the log has. */
  lostCommits: Map<string, number>;
  /** Tenants whose table cannot be read. */
  blocked: Set<string>;
}

export interface HostPin {
  heads: HeadRef[];
  /** Reasons why the heads may lack acknowledged spans; empty if they do not. */
  incomplete: string[];
  release: () => void;
}

/** Most unread records without a warning: a worker reads durable records within milliseconds. */
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
  /** Tenant -> highest offset that its table has reached, for the log's own record at a trim. */
  readonly #highestCommitted: Map<string, number>;
  #worker: Thread | undefined;
  #rpc: Rpc | undefined;
  /** Id of the running worker. Pins are valid only in the worker that made them. */
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
    this.#highestCommitted = new Map(spanLog.committed(this.index));
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

  /** Resolves when a worker has read everything that was durable when it started. */
  caughtUp(): Promise<void> {
    return this.#caughtUp.promise;
  }

  /** See `Committer.isHeldUp`. */
  isHeldUp(tenant: string): boolean {
    return this.#committer.isHeldUp(tenant, this.#options.config.closedHeadsMax);
  }

  async state(): Promise<PartitionState> {
    return (await this.#live().call("state", undefined)) as PartitionState;
  }

  /** Pins the tenant's heads. Throws Unavailable while the worker restarts, or Canceled. */
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
   * Sends a question to a head that was pinned here. The worker that holds the head answers
   * look-ups itself; for searches it lends the head to the search threads.
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
    // Lent for each request, so that a head whose pin expired is not read and its memory is freed.
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

  /** Stops the worker and the committer. Heads that are not committed stay in the log. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#unsubscribe();
    this.#rpc?.close(new SpoorError("Unavailable", "the ingester is stopping"));
    await Promise.all([this.#committer.stop(), this.#worker?.terminate()]);
    await this.#trimming;
  }

  #live(): Rpc {
    if (this.#rpc !== undefined) return this.#rpc;
    throw new SpoorError("Unavailable", "its worker is restarting", {
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

  /** Restarts a worker that died. It lost only memory: the new worker reads the log again. */
  async #onExit(): Promise<void> {
    const { clock, metrics } = this.#options;
    const { signal } = this.#stopping;
    this.#rpc?.close(new SpoorError("Unavailable", `worker of partition ${this.index} died`));
    this.#rpc = undefined;
    this.#isCaughtUp = false;
    if (signal.aborted) return;
    metrics.workerRestarts.inc();
    try {
      // Closed heads are still in shared memory: commit them, so that they are not read again.
      await this.#committer.idle();
      await clock.sleep(restartMs, signal);
      if (!signal.aborted) this.#startWorker();
    } catch (error) {
      // The host was stopped, or the committer gave up for a reason that ends the process.
      if (signal.aborted) return;
      this.#log.error({ error: String(error) }, "the partition worker is not restarted");
    }
  }

  /**
   * Serves a blocked tenant again; `offset` is what its table has reached, if anything. Restarts
   * the worker, which then reads the log again.
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

  /** Sends the changed limits of tenants to the worker. */
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
      message: `${keys} keys and ${values} values were cut, ${attributes} attributes dropped`,
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
      message: `traces with up to ${spansMax} spans in one head; the spans are kept`,
      count,
      examples: () => examples,
    });
  }

  #afterCommit({ tenant, headId, toOffset }: ClosedHead): void {
    this.#noteForLog(tenant, toOffset);
    if (this.#rpc !== undefined) this.#trimWith(this.#rpc.call("committed", { tenant, headId }));
  }

  #noteForLog(tenant: string, offset: number): void {
    this.#highestCommitted.set(tenant, Math.max(offset, this.#highestCommitted.get(tenant) ?? 0));
  }

  /** Trims again after a pause: after a failure, no later commit may trigger it. Never rejects. */
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

  /** Trims the log to the offset in the worker's state; of several waiting trims, only the last. */
  #trimWith(state: Promise<unknown>): void {
    // If the worker died, the next worker triggers a trim.
    const known = (state as Promise<PartitionState>).catch(() => undefined);
    this.#trimsWaiting++;
    this.#trimming = this.#trimming.then(async () => {
      const trimTo = (await known)?.trimTo;
      this.#trimsWaiting--;
      if (trimTo === undefined || this.#trimsWaiting > 0) return;
      try {
        await this.#options.spanLog.trim(
          this.index,
          trimTo,
          Object.fromEntries(this.#highestCommitted),
        );
      } catch (error) {
        // Harmless: the log keeps more records than needed until the next trim.
        this.#log.error({ error: toSpoorError(error).message }, "the log could not be trimmed");
        void this.#trimLater();
      }
    });
  }
}

/** A pin request that fails after its query was canceled has pinned nothing. */
function ignoreLatePinError(): void {}

/** Waits for `work` until `signal` aborts; passes a later result to `late`. Throws Canceled. */
async function unlessAborted<T>(
  work: Promise<T>,
  signal: AbortSignal,
  late: (value: T) => void,
): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => {
    aborted.reject(new SpoorError("Canceled", "pinning heads was canceled"));
    work.then(late, ignoreLatePinError);
  };
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** Returns the limits that workers need, as plain data. */
function recordLimits(limits: TenantLimits): RecordLimits {
  const tenants = [...limits.overrides].map(([tenant, own]) => [tenant, recordPart(own)] as const);
  return { defaults: recordPart(limits.defaults), tenants: new Map(tenants) };
}

function recordPart(own: Limits): RecordLimits["defaults"] {
  const { attributeKeyBytesMax, attributeValueBytesMax, attributesPerSpanMax, traceSpansMax } = own;
  return { attributeKeyBytesMax, attributeValueBytesMax, attributesPerSpanMax, traceSpansMax };
}
