/**
 * What one query sees: pinned heads and a snapshot of the table that fits them, so that every span
 * is read exactly once. Heads are pinned first; then the snapshot is brought to what their ingester
 * has committed; then a head is read only where its log range is beyond the snapshot's transaction.
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

/** Something that could not be read: the answer may lack its spans. */
export interface Failure {
  /** Short stable word for metrics. */
  reason: string;
  /** English, names what it is about. */
  message: string;
}

export interface View {
  heads: readonly HeadRef[];
  blocks: readonly StoredBlock[];
  /** What is missing before a single span is read. */
  failures: readonly Failure[];
  /** The snapshot of the table could not be had: all blocks are missing. */
  isStoredMissing: boolean;
  release(): void;
}

/** What a query is about. */
export interface ViewOf {
  tenant: string;
  /** Undefined: all times. */
  range: TimeRange | undefined;
  /** Undefined: all traces. */
  traceId?: Uint8Array;
  signal: AbortSignal;
}

/** The caller must `release` the view. Throws Canceled or Timeout when `signal` aborts. */
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

/** Whether something may hold spans that overlap the range. */
export function overlaps(
  times: { minStartNano: bigint; maxEndNano: bigint },
  { startNano, endNano }: TimeRange,
): boolean {
  return times.minStartNano < endNano && times.maxEndNano >= startNano;
}

/** Whether spans in quarantine may belong to the answer. */
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

/** Offsets decide: a head at or below the snapshot's transaction is in blocks already. */
function usableHeads(
  pinned: PinnedHeads | undefined,
  snapshot: StoredSnapshot | undefined,
): HeadRef[] {
  const reached = (appId: string): number => snapshot?.transactions.get(appId) ?? 0;
  return (pinned?.heads ?? []).filter(
    ({ appId, toOffset, spans }) => spans > 0 && toOffset > reached(appId),
  );
}

/** A failure becomes a reason; the end of the query itself is thrown. */
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

/** Runs `each` over all items, a bounded number at a time. The first error ends it. */
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

/** Reasons as one text, at most `shown` of them in full. */
export function joinMessages(failures: readonly Failure[], shown = 5): string {
  const messages = [...new Set(failures.map(({ message }) => message))];
  const head = messages.slice(0, shown).join("; ");
  return messages.length > shown ? `${head}; and ${messages.length - shown} more` : head;
}

/** Reasons of errors that end a query; what a shard alone has is a failure of that shard. */
const queryFaults: readonly string[] = ["traceql_value", "query_memory", "query_bytes"];

/** Whether the query itself is at fault, not the shard that was asked. */
export function isQueryFault({ reason }: SpoorError): boolean {
  return queryFaults.includes(reason);
}
