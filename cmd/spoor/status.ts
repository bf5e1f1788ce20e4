/** What the status page shows of the running process. */
import type { StatusPage } from "#modules/frontend/status-page.ts";
import type { Ingester } from "#modules/ingester/ingester.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import type { SpanLog } from "#pkg/spanlog/spanlog.ts";
import type { Table } from "#pkg/table/table.ts";

export interface StatusSources {
  store: ObjectStore;
  ingester: Ingester;
  spanLog: SpanLog;
  tableOf: (tenant: string) => Table;
  startedMs: number;
  version: string;
}

/** Tenants, partitions and log as tables. */
export async function statusPage(sources: StatusSources): Promise<StatusPage> {
  const { store, ingester, spanLog, tableOf, startedMs, version } = sources;
  const tenants: (string | number)[][] = [];
  for (const name of await store.listFolders("")) {
    if (name.startsWith("_") || name.startsWith(".")) continue;
    const files = [...tableOf(name).snapshot.files.values()];
    const spans = files.reduce((sum, { stats }) => sum + stats.rows, 0);
    const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
    tenants.push([name, files.length, spans, sizeBytes]);
  }
  const partitions = (await ingester.states()).map((state) => [
    state.partition,
    state.nextOffset,
    state.durableEnd - state.nextOffset,
    state.headSpans,
    state.headBytes,
    state.closedHeads,
  ]);
  const { bytes, records, segments, pendingBytes } = spanLog.stats();
  return {
    version,
    startedMs,
    notReady: ingester.isReady ? undefined : "the span log is being read again",
    tables: [
      { title: "Tenants", columns: ["tenant", "blocks", "spans", "bytes"], rows: tenants },
      {
        title: "Partitions",
        columns: ["partition", "next offset", "behind", "head spans", "head bytes", "closed heads"],
        rows: partitions,
      },
      {
        title: "Span log",
        columns: ["bytes", "records", "segments", "waiting bytes"],
        rows: [[bytes, records, segments, pendingBytes]],
      },
    ],
  };
}
