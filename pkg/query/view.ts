/**
 * What one query sees: pinned heads and a matching snapshot of the table, so that every span is
 * read exactly once. The order matters:
 *
 * 1. Heads are pinned.
 * 2. The snapshot is taken at the table version that the heads' ingester has committed, or later.
 * 3. A head is read only if its log range ends after the snapshot's transaction for its log.
 */
import type { TimeRange } from "#pkg/api/api.ts";
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type {
  AsideSpans,
  HeadRef,
  LiveSpans,
  PinnedHeads,
  StoredBlock,
  StoredSnapshot,
  StoredSpans,
} from "#pkg/questions/questions.ts";

export interface Spans {
  live: LiveSpans;
  stored: StoredSpans;
}

/** Something that could not be read: its spans may be missing from the result. */
export interface Failure {
  /** Short stable code for metrics. */
  reason: string;
  /** English; names the head, block or row group. */
  message: string;
}

export interface View {
  heads: readonly HeadRef[];
  blocks: readonly StoredBlock[];
  /** Failures known before the first span is read. */
  failures: readonly Failure[];
  /** The snapshot of the table could not be read: all blocks are missing. */
  isStoredMissing: boolean;
  release(): void;
}

/** The spans that a query needs. */
export interface ViewOf {
  tenant: string;
  /** Undefined: all times. */
  range: TimeRange | undefined;
  /** Undefined: all traces. */
  traceId?: Uint8Array;
  signal: AbortSignal;
}

/**
 * Pins the heads and takes a snapshot. The caller must `release` the view. Throws Canceled or
 * Timeout when `signal` aborts; other errors become failures of the view.
 */
export async function openView({ live, stored }: Spans, query: ViewOf): Promise<View> {
  const { tenant, signal } = query;
  const failures: Failure[] = [];
  const pinned = await attempt(live.pin(tenant, signal), "live spans", { failures, signal });
  try {
    const minVersion = pinned?.tableVersion ?? -1;
    const snapshot = await attempt(stored.snapshot(tenant, minVersion, signal), "stored spans", {
      failures,
      signal,
    });
    for (const message of pinned?.incomplete ?? [])
      failures.push({ reason: "incomplete", message });
    for (const { message } of snapshot?.failed ?? []) failures.push({ reason: "block", message });
    const aside = (pinned?.aside ?? []).filter((one) => mayMatter(one, query)).length;
    if (aside > 0) {
      const message = `${aside} log records are in quarantine, see "spoor quarantine ls"`;
      failures.push({ reason: "quarantine", message });
    }
    return {
      heads: usableHeads(pinned, snapshot),
      blocks: snapshot?.blocks ?? [],
      failures,
      isStoredMissing: snapshot === undefined,
      release: () => pinned?.release(),
    };
  } catch (error) {
    pinned?.release();
    throw error;
  }
}

/** Returns whether spans within `times` may overlap the range. */
export function overlaps(
  times: { minStartNano: bigint; maxEndNano: bigint },
  { startNano, endNano }: TimeRange,
): boolean {
  return times.minStartNano < endNano && times.maxEndNano >= startNano;
}

/** Returns whether spans in quarantine may belong to the result. */
function mayMatter(aside: AsideSpans, { range, traceId }: ViewOf): boolean {
  if (range !== undefined && !overlaps(aside, range)) return false;
  const { traceIds } = aside;
  if (traceId === undefined || traceIds === undefined) return true;
  const [ids, id] = [Buffer.from(traceIds), Buffer.from(traceId)];
  for (let at = 0; at < ids.length; at += id.length) {
    if (ids.compare(id, 0, id.length, at, at + id.length) === 0) return true;
  }
  return false;
}

/** Drops heads that end at or before the snapshot's transaction: blocks hold their spans. */
function usableHeads(
  pinned: PinnedHeads | undefined,
  snapshot: StoredSnapshot | undefined,
): HeadRef[] {
  const reached = (appId: string): number => snapshot?.transactions.get(appId) ?? 0;
  return (pinned?.heads ?? []).filter(
    ({ appId, toOffset, spans }) => spans > 0 && toOffset > reached(appId),
  );
}

/** Awaits `work` and records its error as a failure. Throws only if the query has ended. */
async function attempt<T>(
  work: Promise<T>,
  what: string,
  { failures, signal }: { failures: Failure[]; signal: AbortSignal },
): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    throwIfEnded(signal);
    const { message, reason } = toSpoorError(error);
    failures.push({ reason, message: `${what} could not be read: ${message}` });
    return undefined;
  }
}

/** Throws Canceled or Timeout if the query has ended. */
export function throwIfEnded(signal: AbortSignal): void {
  if (!signal.aborted) return;
  const cause = toSpoorError(signal.reason);
  if (cause.code === "Timeout") {
    throw new SpoorError("Timeout", "context deadline exceeded", {
      reason: "query_timeout",
      cause,
    });
  }
  throw new SpoorError("Canceled", "query was cancelled", { reason: "client_gone", cause });
}

/** Runs `each` over all items, at most `concurrency` at a time. Rejects with the first error. */
export async function forEachBounded<T>(
  items: Iterable<T>,
  concurrency: number,
  each: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
      await each(next.value);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

/** Joins the distinct messages into one text; counts those beyond `shown`. */
export function joinMessages(failures: readonly Failure[], shown = 5): string {
  const messages = [...new Set(failures.map(({ message }) => message))];
  const head = messages.slice(0, shown).join("; ");
  return messages.length > shown ? `${head}; and ${messages.length - shown} more` : head;
}

/** Reasons of errors that end the whole query. Any other error fails one shard only. */
const queryFaults: readonly string[] = ["traceql_value", "query_memory", "query_bytes"];

/** Returns whether the query caused the error, not the shard that reported it. */
export function isQueryFault({ reason }: SpoorError): boolean {
  return queryFaults.includes(reason);
}
