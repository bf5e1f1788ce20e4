/** The span log on local files. One process at a time has it open; `--data-dir` is locked. */
import { randomBytes } from "node:crypto";
import { dirname, resolve } from "node:path";
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import { Admission } from "./admission.ts";
import {
  consumerStates,
  FileLogConsumer,
  type LogPartition,
  partitionBounds,
} from "./consumers.ts";
import { createLog, repartitionLog } from "./create.ts";
import { HASH_BYTES, LOG_ID_BYTES, RECORD_BYTES_MAX, TENANT_BYTES_MAX } from "./format.ts";
import {
  assertOwner,
  isOwnerLost,
  logClosed,
  newCounters,
  writeFailed,
  type LogBounds,
  type LogContext,
} from "./log-context.ts";
import { LogEndsWriter, readLogEnds, reportMissingLog } from "./log-ends.ts";
import { nodeLogFs, type LogFs } from "./log-fs.ts";
import { PartitionLog } from "./partition-log.ts";
import { PartitionTrim } from "./partition-trim.ts";
import { recoverPartition, type RecoveredPartition } from "./recover.ts";
import {
  type AppendOptions,
  type AppendResult,
  type BoundedConsumer,
  type ConsumerConfig,
  type ConsumerState,
  ingesterName,
  type LogDamage,
  type SpanLog,
  type SpanLogStats,
} from "./span-log.ts";
import {
  isOffset,
  isPartitionCount,
  type LogState,
  readLogState,
  writeLogState,
} from "./state-file.ts";

/** Limits of a log, as plain data. */
export interface FileLogBounds {
  /** N, a power of two, default 4. N can change only when all records are trimmed. */
  partitionCount?: number;
  /** Maximum size of a segment, default 64 MiB. */
  segmentBytesMax?: number;
  /** Maximum size of all partitions' segments together, default 8 GiB. */
  bytesMax?: number;
  /** Maximum bytes of records that wait in memory, default 256 MiB. */
  pendingBytesMax?: number;
  /** Free bytes on the disk below which appends are refused, default 1 GiB. */
  freeBytesMin?: number;
  /** Maximum bytes of one write, default 8 MiB. */
  groupBytesMax?: number;
  /** Time that the first record of a group waits for others under load, default 0. */
  groupLingerMs?: number;
  /** Time within which retries are recognised, default 10 minutes. */
  retryWindowMs?: number;
  /** Records that are remembered for retries, over all partitions, default 1,048,576 (44 MiB). */
  retryRecordsMax?: number;
  /** A file outside the log's folder that stores the ends of the partitions; default: none. */
  endsPath?: string;
  /** Consumers besides the ingesters; default: none. */
  consumers?: readonly ConsumerConfig[];
}

/** Dependencies of a log. */
export interface LogParts {
  clock: Clock;
  log: Log;
  /** Called with the time that a group of records took to become durable, milliseconds. */
  onGroup?: (durationMs: number) => void;
  /**
   * Returns whether this process is certainly still the only writer of the log. Called at least
   * once per group of records, after its fsync. Once it returns false, nothing more is appended.
   */
  isOwner?: () => boolean;
  /** Access to the disk; tests inject faults here. */
  fs?: LogFs;
}

export interface FileLogOptions extends FileLogBounds, LogParts {}

const MIB = 1024 * 1024;

/**
 * Opens the log in a folder, or creates it. Throws Corrupt if the log's identity or its used
 * offsets are unknown; InvalidInput for a newer format or another number of partitions;
 * Unavailable. Lost or damaged records do not prevent the log from opening: see `damage`.
 */
export async function openFileLog(dir: string, options: FileLogOptions): Promise<SpanLog> {
  const partitionCount = options.partitionCount ?? 4;
  if (!isPartitionCount(partitionCount)) {
    throw new SpoorError(
      "InvalidInput",
      `open log with ${String(partitionCount)} partitions: not a power of two from 1 to 1024`,
    );
  }
  const bounds = boundsOf(options, partitionCount);
  const { bytesMax } = bounds;
  const context: LogContext = {
    dir: resolve(dir),
    logId: "",
    owner: 1,
    isOwner: options.isOwner ?? (() => true),
    oldHashesUntilMs: Number.NEGATIVE_INFINITY,
    knownEnds: [],
    fs: options.fs ?? nodeLogFs,
    clock: options.clock,
    log: options.log,
    bounds,
    consumers: partitionBounds(options.consumers ?? [], { bytesMax, partitionCount }),
    counters: newCounters(),
    onGroup: options.onGroup ?? (() => undefined),
    damage: [],
  };
  try {
    return await open(context, partitionCount, options.endsPath);
  } catch (error) {
    if (error instanceof SpoorError) throw error;
    throw writeFailed(`open log ${context.dir}`, error);
  }
}

async function open(
  context: LogContext,
  partitionCount: number,
  endsPath: string | undefined,
): Promise<SpanLog> {
  const state = readLogState(context.dir);
  const ends = endsPath === undefined ? undefined : readLogEnds(context, endsPath);
  context.logId = state?.logId ?? randomBytes(LOG_ID_BYTES).toString("hex");
  context.owner = (state?.owner ?? 0) + 1;
  if (ends !== undefined && ends.logId === context.logId) {
    context.knownEnds = ends.partitions.map(({ end }) => end);
  }
  if (state === undefined) await createLog(context, partitionCount);
  else {
    await syncNames(context);
    await takeOwnership(context, state);
  }
  if (state !== undefined && state.partitionCount !== partitionCount) {
    await repartitionLog(context, state.partitionCount, partitionCount);
  }
  if (ends !== undefined && ends.logId !== context.logId) reportMissingLog(context, ends);
  const admission = new Admission(context, await context.fs.freeBytes(context.dir));
  const partitions: LogPartition[] = [];
  try {
    for (let i = 0; i < partitionCount; i++) {
      partitions.push(openPartition(context, admission, i, await recoverPartition(context, i)));
    }
  } catch (error) {
    for (const { log } of partitions) await log.close();
    throw error;
  }
  const opened = new FileLog(context, admission, partitions);
  if (endsPath !== undefined) await opened.keepEnds(endsPath);
  return opened;
}

/** Syncs the folders: a killed process may have left names that are not durable yet. */
async function syncNames({ dir, fs }: LogContext): Promise<void> {
  for (const folder of [dir, dirname(dir)]) await fs.syncDir(folder);
}

/** Makes the fencing number durable before anything is written under it. */
async function takeOwnership({ dir, fs, owner }: LogContext, state: LogState): Promise<void> {
  await writeLogState(fs, dir, { ...state, owner });
}

function openPartition(
  context: LogContext,
  admission: Admission,
  partition: number,
  recovered: RecoveredPartition,
): LogPartition {
  const { writer, memory, durableEnd, trim } = recovered;
  const log = new PartitionLog(context, partition, { admission, writer, memory, durableEnd });
  return { log, trim: new PartitionTrim(context, log, writer, trim) };
}

function boundsOf(options: FileLogOptions, partitionCount: number): LogBounds {
  const bytesMax = options.bytesMax ?? 8192 * MIB;
  const pendingBytesMax = options.pendingBytesMax ?? 256 * MIB;
  const retryRecordsMax = options.retryRecordsMax ?? 1_048_576;
  return {
    segmentBytesMax: options.segmentBytesMax ?? 64 * MIB,
    groupBytesMax: options.groupBytesMax ?? 8 * MIB,
    groupLingerMs: options.groupLingerMs ?? 0,
    // Small enough that trimmed records in active segments cannot fill the log.
    trimRotateBytes: Math.min(MIB, Math.floor(bytesMax / (4 * partitionCount))),
    bytesMax,
    pendingBytesMax,
    freeBytesMin: options.freeBytesMin ?? 1024 * MIB,
    recordBytesMax: Math.min(RECORD_BYTES_MAX, pendingBytesMax >> 1, Math.floor(bytesMax / 2)),
    retryWindowMs: options.retryWindowMs ?? 600_000,
    retryEntriesMax: Math.max(1, Math.floor(retryRecordsMax / partitionCount)),
  };
}

class FileLog implements SpanLog {
  readonly name = ingesterName;
  readonly id: string;
  readonly partitionCount: number;
  readonly damage: readonly LogDamage[];
  readonly #context: LogContext;
  readonly #admission: Admission;
  readonly #partitions: readonly LogPartition[];
  #ends: LogEndsWriter | undefined;
  #isClosed = false;

  constructor(context: LogContext, admission: Admission, partitions: readonly LogPartition[]) {
    this.id = context.logId;
    this.partitionCount = partitions.length;
    this.damage = context.damage;
    this.#context = context;
    this.#admission = admission;
    this.#partitions = partitions;
  }

  /** Starts to store the ends of the partitions in the file `path`. */
  async keepEnds(path: string): Promise<void> {
    const { log } = this.#context;
    this.#ends = new LogEndsWriter(path, this, (error) =>
      log.warn({ path, error }, "the ends of the log cannot be stored"),
    );
    await this.#ends.save();
  }

  async append(
    partition: number,
    tenant: string,
    parts: Uint8Array | readonly Uint8Array[],
    options: AppendOptions = {},
  ): Promise<AppendResult> {
    const { log } = this.#partition(partition);
    this.#refuseClosed("append to");
    const tenantBytes = encodeTenant(tenant);
    const list = parts instanceof Uint8Array ? [parts] : parts;
    let bytesLength = 0;
    for (const part of list) bytesLength += part.byteLength;
    const { recordBytesMax } = this.#context.bounds;
    if (bytesLength > recordBytesMax) {
      const text = `append a record of ${bytesLength} bytes: the limit is ${recordBytesMax}`;
      throw new SpoorError("TooLarge", text, { reason: "record_too_large" });
    }
    const { key, signal } = options;
    if (key !== undefined && key.length !== HASH_BYTES) {
      const text = `append with a request key of ${key.length} bytes: expected ${HASH_BYTES}`;
      throw new SpoorError("InvalidInput", text, { reason: "bad_request_key" });
    }
    return log.append({ tenant, tenantBytes, parts: list, bytesLength, key, signal });
  }

  firstOffset(partition: number): number {
    return this.#partition(partition).trim.state.ingesterTo;
  }

  durableEnd(partition: number): number {
    return this.#partition(partition).log.durableEnd;
  }

  subscribe(partition: number, onDurable: (endOffset: number) => void): () => void {
    return this.#partition(partition).log.subscribe(onDurable);
  }

  async trim(partition: number, upTo: number, committed: Record<string, number>): Promise<void> {
    const { trim } = this.#partition(partition);
    this.#refuseClosed("trim");
    await trim.trim(upTo, committed);
  }

  committed(partition: number): ReadonlyMap<string, number> {
    return this.#partition(partition).trim.state.committed;
  }

  consumer(name: string): BoundedConsumer {
    if (!this.#context.consumers.some((one) => one.name === name)) {
      const text = `open consumer ${name} of the log ${this.#context.dir}: it is not registered`;
      throw new SpoorError("NotFound", text, { reason: "no_such_consumer" });
    }
    return new FileLogConsumer(name, (partition, what) => {
      if (what !== "inspect") this.#refuseClosed(what);
      return this.#partition(partition);
    });
  }

  consumers(): ConsumerState[] {
    return consumerStates(this.#partitions, this.#context.consumers);
  }

  async advance(partition: number, offset: number): Promise<void> {
    const { log } = this.#partition(partition);
    this.#refuseClosed("advance");
    if (!isOffset(offset))
      throw new SpoorError("InvalidInput", `advance the log to ${String(offset)}`);
    try {
      await log.advance(offset);
    } catch (error) {
      if (isOwnerLost(error)) throw error;
      throw writeFailed(`advance partition ${partition} to ${offset}`, error);
    }
  }

  assertOwner(): void {
    assertOwner(this.#context);
  }

  async checkFormerOwners(): Promise<void> {
    for (const { trim } of this.#partitions) await trim.former.check();
  }

  stats(): SpanLogStats {
    const stats: SpanLogStats = {
      ...this.#context.counters,
      refusedTotal: { ...this.#context.counters.refusedTotal },
      records: 0,
      segments: 0,
      retryMemoryRecords: 0,
      retryMemoryEvictedTotal: 0,
    };
    for (const { log, trim } of this.#partitions) {
      stats.records += log.durableEnd - trim.state.trimmedTo;
      stats.segments += log.segmentCount;
      stats.retryMemoryRecords += log.memory.count;
      stats.retryMemoryEvictedTotal += log.memory.evicted;
    }
    return stats;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { log, trim } of this.#partitions) {
      await trim.idle();
      await trim.former.check();
      await log.close();
    }
    await this.#admission.idle();
    await this.#ends?.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #partition(partition: number): LogPartition {
    const found = this.#partitions[partition];
    if (found !== undefined) return found;
    const text = `partition ${partition} of a log with ${this.partitionCount}`;
    throw new SpoorError("InvalidInput", text, { reason: "no_such_partition" });
  }

  #refuseClosed(what: string): void {
    if (this.#isClosed) throw logClosed(what);
  }
}

function encodeTenant(tenant: string): Uint8Array {
  const bytes = Buffer.from(tenant);
  if (bytes.length > 0 && bytes.length <= TENANT_BYTES_MAX && tenant.isWellFormed()) return bytes;
  const name = JSON.stringify(tenant);
  const text = `append for tenant ${name}: not 1 to ${TENANT_BYTES_MAX} bytes of UTF-8`;
  throw new SpoorError("InvalidInput", text, { reason: "bad_tenant" });
}
