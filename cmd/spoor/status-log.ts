/** The span log on the status page. */
import type { StatusTable } from "#modules/frontend/frontend.ts";
import type { Ingester } from "#modules/ingester/ingester.ts";
import type { SpanLog } from "#pkg/spanlog/spanlog.ts";

interface LogSources {
  spanLog: SpanLog;
  ingester: Pick<Ingester, "losses">;
}

/** Returns the table of damage and losses; none if there are none. */
export function lossTables({ spanLog, ingester }: LogSources): StatusTable[] {
  const damage = spanLog.damage.map(({ kind, message }) => [kind, message]);
  const losses = ingester.losses.map((message) => ["log_missing", message]);
  if (damage.length + losses.length === 0) return [];
  const columns = [{ key: "kind" }, { key: "message", title: "found at the start" }];
  const title = "Damage and losses of the span log";
  return [{ key: "span_log_damage", title, columns, rows: [...damage, ...losses] }];
}

/** Returns the problem text for losses, with what to do; none if there are none. */
export function lossProblems(sources: LogSources): string[] {
  const [table] = lossTables(sources);
  if (table === undefined) return [];
  return [
    `The span log was damaged or lost spans (${table.rows.length} findings, see below): ` +
      "if a copy of the folder `log` exists, stop Spoor and restore it.",
  ];
}

/** Returns the table of the log's size. */
export function spanLogTable({ spanLog }: Pick<LogSources, "spanLog">): StatusTable {
  const { bytes, records, segments, pendingBytes } = spanLog.stats();
  return {
    key: "span_log",
    title: "Span log",
    columns: [
      { key: "bytes", title: "size", unit: "bytes" },
      { key: "records" },
      { key: "segments", title: "files" },
      { key: "pending_bytes", title: "waiting to be written", unit: "bytes" },
    ],
    rows: [[bytes, records, segments, pendingBytes]],
  };
}

/** Returns the table of the log's consumers. */
export function consumersTable({ spanLog }: Pick<LogSources, "spanLog">): StatusTable {
  return {
    key: "span_log_consumers",
    title: "Consumers of the span log",
    columns: [
      { key: "consumer" },
      { key: "behind_records", title: "records behind" },
      { key: "behind_bytes", title: "kept in the log", unit: "bytes" },
      { key: "lost_partitions", title: "partitions without a claim" },
      { key: "claims_lost", title: "claims lost since the start" },
    ],
    rows: spanLog
      .consumers()
      .map(({ name, behindRecords, behindBytes, lostPartitions, claimsLostTotal }) => [
        name,
        behindRecords,
        behindBytes,
        lostPartitions.join(", "),
        claimsLostTotal,
      ]),
  };
}

/** Returns problem texts for consumers that miss records because they were too slow. */
export function claimProblems({ spanLog }: Pick<LogSources, "spanLog">): string[] {
  return spanLog
    .consumers()
    .filter(({ lostPartitions }) => lostPartitions.length > 0)
    .map(
      ({ name, lostPartitions }) =>
        `Consumer ${name} of the span log was too far behind and misses records of partitions ` +
        `${lostPartitions.join(", ")}: find out why it is slow.`,
    );
}
