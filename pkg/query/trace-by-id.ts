/** Finds all spans of one trace in heads and blocks. */
import type { TimeRange } from "#pkg/api/api.ts";
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import { partitionOf } from "#pkg/otlp/otlp.ts";
import type { BlockRef, Partition, ShardRef } from "#pkg/questions/questions.ts";
import { askJob } from "./shard-jobs.ts";
import { type Failure, forEachBounded, openView, type Spans, throwIfEnded } from "./view.ts";

export interface TraceQuery {
  tenant: string;
  /** 16 bytes. */
  traceId: Uint8Array;
  /** Limits which blocks and heads are read, as in Tempo; it does not filter spans. */
  range: TimeRange | undefined;
  signal: AbortSignal;
}

export interface FoundTrace {
  /** Protobuf TracesData from each head and row group that has spans of the trace; not merged. */
  pieces: Uint8Array[];
  /** What could not be read. Empty: the trace is complete. */
  failures: Failure[];
}

export interface FindOptions {
  /** Heads and blocks asked at a time. */
  concurrency: number;
  /** Bytes of pieces. Pieces beyond it are left out, and a failure says so. */
  bytesMax: number;
}

/** Reason of the failure that says that the trace exceeds the size limit. */
export const traceTooLarge = "trace_too_large";

/** A head or a block that may have spans of the trace. */
interface Candidate {
  name: string;
  /** The block whose bloom filter is checked first; undefined for a head. */
  block: BlockRef | undefined;
  shards: readonly ShardRef[];
}

/**
 * Reads the trace from every head and block that may hold it, `concurrency` at a time. Throws
 * NotFound only if all of them could be read: a part that could not be read might hold the trace.
 */
export async function findTrace(
  spans: Spans,
  query: TraceQuery,
  { concurrency, bytesMax }: FindOptions,
): Promise<FoundTrace> {
  const { traceId, signal } = query;
  const view = await openView(spans, query);
  try {
    const candidates: Candidate[] = [];
    for (const head of view.heads) {
      if (!isWorthAsking(head, query)) continue;
      candidates.push({ name: head.name, block: undefined, shards: [head] });
    }
    for (const block of view.blocks) {
      if (!isWorthAsking(block, query)) continue;
      const { path, ref, shards } = block;
      candidates.push({ name: `block ${path}`, block: ref, shards });
    }
    const found = new Found([...view.failures], bytesMax);
    await forEachBounded(candidates, concurrency, async (candidate) => {
      await ask(spans, candidate, { query, found });
    });
    throwIfEnded(signal);
    if (found.pieces.length === 0 && found.failures.length === 0) {
      const id = Buffer.from(traceId).toString("hex");
      throw new SpoorError("NotFound", `trace ${id} not found`, { reason: "no_trace" });
    }
    return found;
  } finally {
    view.release();
  }
}

function isWorthAsking(
  one: { partition: Partition; minStartNano: bigint; maxEndNano: bigint },
  { traceId, range }: TraceQuery,
): boolean {
  const { index, count } = one.partition;
  return partitionOf(traceId, 0, count) === index && overlaps(one, range);
}

function overlaps(
  times: { minStartNano: bigint; maxEndNano: bigint },
  range: TimeRange | undefined,
): boolean {
  if (range === undefined) return true;
  return times.minStartNano < range.endNano && times.maxEndNano >= range.startNano;
}

/** The pieces found so far, up to a number of bytes. */
class Found implements FoundTrace {
  readonly pieces: Uint8Array[] = [];
  readonly failures: Failure[];
  readonly #bytesMax: number;
  #sizeBytes = 0;
  #isFull = false;

  constructor(failures: Failure[], bytesMax: number) {
    this.failures = failures;
    this.#bytesMax = bytesMax;
  }

  /** A piece did not fit: no further request is sent. */
  get isFull(): boolean {
    return this.#isFull;
  }

  get leftBytes(): number {
    return Math.max(0, this.#bytesMax - this.#sizeBytes);
  }

  add(piece: Uint8Array): void {
    const fits = this.#sizeBytes + piece.length <= this.#bytesMax;
    if (fits || this.pieces.length === 0) {
      this.pieces.push(piece);
      this.#sizeBytes += piece.length;
    }
    if (fits || this.#isFull) return;
    this.#isFull = true;
    const message = `the trace has more than ${this.#bytesMax} bytes`;
    this.failures.push({
      reason: traceTooLarge,
      message: `${message}: some of its spans are missing`,
    });
  }
}

async function ask(
  spans: Spans,
  { name, block, shards }: Candidate,
  { query, found }: { query: TraceQuery; found: Found },
): Promise<void> {
  const { traceId, signal } = query;
  if (signal.aborted || found.isFull) return;
  try {
    const marks = block && (await spans.stored.mayHold(block, traceId, signal));
    if (marks?.[0] === 0 || found.isFull) return;
    const request = { traceId, bytesMax: found.leftBytes };
    const asks = shards.map((shard) => ({ shard, request }));
    const { outcomes } = await askJob(spans, "trace", asks, signal);
    for (const outcome of outcomes) {
      if ("answer" in outcome) for (const piece of outcome.answer) found.add(piece);
    }
    // One failure per block is enough, however many of its row groups failed.
    const failed = outcomes.find((outcome) => "error" in outcome);
    if (failed !== undefined) throw failed.error;
  } catch (error) {
    throwIfEnded(signal);
    // The query's own limit ends the query; it is not a failure of this candidate.
    if (error instanceof SpoorError && error.reason === "query_bytes") throw error;
    found.failures.push(failureOf(error, name));
  }
}

/** Returns the failure for an error; its message contains `name`. */
export function failureOf(error: unknown, name: string): Failure {
  const { message, reason } = toSpoorError(error);
  const named = message.includes(name) ? message : `${name}: ${message}`;
  return { reason, message: named };
}
