/**
 * The main thread's end of one partition: starts its worker (again, if it dies), tells it what is
 * durable, hands closed heads to the committer, trims the log, pins heads for queries.
 */
import { Worker } from "node:worker_threads";
import type {
  ListTracesRequest,
  PinnedHead,
  TraceDetails,
  TraceDetailsRequest,
  TraceList,
} from "#pkg/api/query.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import { Rpc } from "#pkg/rpc/rpc.ts";
import { SharedNumber } from "#pkg/rpc/shared-number.ts";
import type { SpanLog } from "#pkg/spanlog/spanlog.ts";
import { Committer, type CommitterOptions, type LogRange, type RebuiltHead } from "./committer.ts";
import type { IngesterConfig } from "./config.ts";
import type {
  ClosedHead,
  HeadInfo,
  PartitionState,
  PartitionWorkerData,
  PinAnswer,
} from "./messages.ts";

export interface PartitionHostOptions extends Omit<CommitterOptions, "rebuild" | "onCommitted"> {
  spanLog: SpanLog;
  logDir: string;
  config: IngesterConfig;
  headBytesMax: number;
}

export interface HostPin {
  heads: PinnedHead[];
  /** Why the heads may lack acknowledged spans; empty if they do not. */
  incomplete: string[];
  release: () => void;
}

const restartMs = 1000;

export class PartitionHost {
  readonly index: number;
  readonly #options: PartitionHostOptions;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #unsubscribe: () => void;
  readonly #durable = new SharedNumber();
  /** Tenant -> offset that its table has reached. */
  readonly #committed: Map<string, number>;
  #committer: Committer;
  #worker: Worker | undefined;
  #rpc: Rpc | undefined;
  #caughtUp = Promise.withResolvers<void>();
  #isCaughtUp = false;
  #stopped = false;
  #trimming: Promise<void> = Promise.resolve();

  /** `committed`: tenant -> offset that its table has reached for this partition of this log. */
  constructor(options: PartitionHostOptions, committed: ReadonlyMap<string, number>) {
    this.index = options.partition.index;
    this.#options = options;
    this.#log = options.log.child({ partition: this.index });
    this.#clock = options.clock;
    this.#committed = new Map(committed);
    this.#committer = this.#makeCommitter();
    this.#startWorker();
    this.#unsubscribe = options.spanLog.subscribe(this.index, (end) => this.#durable.set(end));
    this.#durable.set(options.spanLog.durableEnd(this.index));
  }

  get isCaughtUp(): boolean {
    return this.#isCaughtUp;
  }

  get failingTenants(): ReadonlySet<string> {
    return this.#committer.failingTenants;
  }

  /** Resolves when the worker has read what was durable when it started. */
  caughtUp(): Promise<void> {
    return this.#caughtUp.promise;
  }

  async state(): Promise<PartitionState> {
    return (await this.#call("state", undefined)) as PartitionState;
  }

  async pin(tenant: string, signal: AbortSignal): Promise<HostPin> {
    const rpc = this.#rpc;
    const answer = (await this.#call("pin", tenant, signal)) as PinAnswer;
    const { partition, appId } = this.#options;
    const incomplete: string[] = [];
    if (!this.#isCaughtUp || answer.behindRecords > behindRecordsShown) {
      incomplete.push(
        `partition ${this.index}: ${answer.behindRecords} log records are not readable yet`,
      );
    }
    if (answer.lostRecords > 0) {
      incomplete.push(`partition ${this.index}: ${answer.lostRecords} log records are damaged`);
    }
    return {
      heads: answer.heads.map(
        (info) => new RemoteHead(info, { partition, appId, rpc: rpc!, pinId: answer.pinId }),
      ),
      incomplete,
      release: () => rpc!.notify("release", answer.pinId),
    };
  }

  /** Reads the log to its end, closes all heads and waits until they are committed. */
  async flush(): Promise<void> {
    await this.#call("flush", this.#options.spanLog.durableEnd(this.index));
    await this.#committer.idle();
    await this.#trimming;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#unsubscribe();
    this.#committer.stop();
    this.#rpc?.close(new SpoorError("Unavailable", "the ingester is stopping"));
    await this.#worker?.terminate();
    await this.#trimming;
  }

  #call(method: string, args: unknown, signal?: AbortSignal): Promise<unknown> {
    if (this.#rpc === undefined) {
      const message = `partition ${this.index} is being restarted`;
      return Promise.reject(new SpoorError("Unavailable", message));
    }
    return this.#rpc.call(method, args, signal);
  }

  #makeCommitter(): Committer {
    return new Committer({
      ...this.#options,
      rebuild: async (range: LogRange) => (await this.#call("rebuild", range)) as RebuiltHead,
      onCommitted: (head) => this.#afterCommit(head),
    });
  }

  #startWorker(): void {
    const { spanLog, logDir, config, headBytesMax } = this.#options;
    const data: PartitionWorkerData = {
      logDir,
      partition: this.index,
      fromOffset: spanLog.firstOffset(this.index),
      durableEnd: spanLog.durableEnd(this.index),
      durable: this.#durable.buffer,
      committed: this.#committed,
      config,
      headBytesMax,
    };
    const url = new URL("partition-worker.ts", import.meta.url);
    const worker = new Worker(url, { workerData: data });
    this.#worker = worker;
    this.#rpc = new Rpc(worker, {
      closed: (head: ClosedHead) => this.#committer.enqueue(head),
      undecodable: (record: { tenant: string; offset: number; message: string }) => {
        this.#log.error({ ...record }, "a log record does not decode");
        this.#committer.noteUndecodable(record.tenant, record.offset);
      },
      readFailed: (message: string) => this.#log.error({ error: message }, "log read failed"),
      caughtUp: () => {
        this.#isCaughtUp = true;
        this.#caughtUp.resolve();
      },
    });
    worker.once("error", (error) => {
      this.#log.error({ error: error.message }, "partition worker failed");
    });
    worker.once("exit", () => void this.#onExit());
  }

  /** A worker that died lost only memory: a new one reads the log again. */
  async #onExit(): Promise<void> {
    const rpc = this.#rpc;
    this.#rpc = undefined;
    this.#isCaughtUp = false;
    rpc?.close(new SpoorError("Unavailable", `worker of partition ${this.index} died`));
    if (this.#stopped) return;
    this.#options.metrics.workerRestarts.inc();
    // Closed heads are on their way by shared memory: what they commit must not be read again.
    await this.#committer.idle();
    this.#committer = this.#makeCommitter();
    await this.#clock.sleep(restartMs);
    if (!this.#stopped) this.#startWorker();
  }

  async #afterCommit({ tenant, headId, toOffset }: ClosedHead): Promise<void> {
    this.#committed.set(tenant, toOffset);
    if (this.#rpc === undefined) return;
    const state = (await this.#call("committed", { tenant, headId })) as PartitionState;
    const { spanLog } = this.#options;
    const committed = Object.fromEntries(this.#committed);
    this.#trimming = this.#trimming
      .then(() => spanLog.trim(this.index, state.trimTo, committed))
      .catch((error: unknown) => {
        this.#log.error({ error: String(error) }, "the log could not be trimmed, trying later");
      });
  }
}

/** A worker reads what is durable within milliseconds: a short lag is not worth a warning. */
const behindRecordsShown = 2000;

/** A pinned head on its worker, as a shard. */
class RemoteHead implements PinnedHead {
  readonly name: string;
  readonly partition: { index: number; count: number };
  readonly appId: string;
  readonly toOffset: number;
  readonly spans: number;
  readonly minStartNano: bigint;
  readonly maxStartNano: bigint;
  readonly maxEndNano: bigint;
  readonly #rpc: Rpc;
  readonly #ids: { pinId: number; headId: number };

  constructor(
    info: HeadInfo,
    place: { partition: PinnedHead["partition"]; appId: string; rpc: Rpc; pinId: number },
  ) {
    this.name = `head of partition ${place.partition.index}`;
    this.partition = place.partition;
    this.appId = place.appId;
    this.toOffset = info.toOffset;
    this.spans = info.spans;
    this.minStartNano = info.minStartNano;
    this.maxStartNano = info.maxStartNano;
    this.maxEndNano = info.maxEndNano;
    this.#rpc = place.rpc;
    this.#ids = { pinId: place.pinId, headId: info.headId };
  }

  /** Asking costs as much as the answer: every head may hold every trace of its partition. */
  mayHoldTrace(): Promise<boolean> {
    return Promise.resolve(true);
  }

  async listTraces(request: ListTracesRequest, signal: AbortSignal): Promise<TraceList> {
    return (await this.#ask("listTraces", request, signal)) as TraceList;
  }

  async traceDetails(request: TraceDetailsRequest, signal: AbortSignal): Promise<TraceDetails[]> {
    return (await this.#ask("traceDetails", request, signal)) as TraceDetails[];
  }

  async findTrace(traceId: Uint8Array, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return (await this.#ask("findTrace", traceId, signal)) as Uint8Array | undefined;
  }

  #ask(method: string, request: unknown, signal: AbortSignal): Promise<unknown> {
    return this.#rpc.call(method, { ...this.#ids, request }, signal);
  }
}
