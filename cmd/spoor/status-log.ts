/** What the status page shows of the span log. */
import type { StatusTable } from "#modules/frontend/status-page.ts";
import type { Ingester } from "#modules/ingester/ingester.ts";
import type { SpanLog } from "#pkg/spanlog/spanlog.ts";

interface LogSources {
  spanLog: SpanLog;
  ingester: Pick<Ingester, "losses">;
}

/** Nothing where nothing was lost or damaged. */
export function lossTables({ spanLog, ingester }: LogSources): StatusTable[] {
  const damage = spanLog.damage.map(({ kind, message }) => [kind, message]);
  const losses = ingester.losses.map((message) => ["log_missing", message]);
  if (damage.length + losses.length === 0) return [];
  const columns = [{ key: "kind" }, { key: "message", title: "what was found at the start" }];
  const title = "Damage and losses of the span log";
  return [{ key: "span_log_damage", title, columns, rows: [...damage, ...losses] }];
}

/** Says that there are losses, with what to do; nothing while there are none. */
export function lossProblems(sources: LogSources): string[] {
  const [table] = lossTables(sources);
  if (table === undefined) return [];
  return [
    `The span log was damaged or lost spans (${table.rows.length} findings, see there): ` +
      "if a copy of the folder `log` exists, stop Spoor and put it back.",
  ];
}

/** Its size. */
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

/** Those that read the log, each at its own pace. */
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

/** Consumers that miss records of the log because they were too slow. */
export function claimProblems({ spanLog }: Pick<LogSources, "spanLog">): string[] {
  return spanLog
    .consumers()
    .filter(({ lostPartitions }) => lostPartitions.length > 0)
    .map(
      ({ name, lostPartitions }) =>
        `Consumer ${name} of the span log was too far behind and misses records of partitions ` +
        `${lostPartitions.join(", ")}: see why it is slow.`,
    );
}
