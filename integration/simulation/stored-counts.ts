/** Counts the spans in the bucket at the end of a simulation, without the process. */
import { spansOfBlock } from "#integration/parts/stored.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { openTable } from "#pkg/table/delta-table.ts";
import { type Model, tenants } from "./model.ts";

export interface StoredCounts {
  blocks: number;
  /** Acknowledged spans that are in no block, and spans that are in blocks more than once. */
  lostSpans: number;
  doubledSpans: number;
  /** Blocks that no commit names. */
  strayObjects: number;
  problems: string[];
}

/** Counts every span of every block in the tables, and the objects that no table names. */
export async function countStored(store: ObjectStore, model: Model): Promise<StoredCounts> {
  const log = openLog("silent");
  const counts = new Map<string, number>();
  let [blocks, strayObjects] = [0, 0];
  for (const tenant of tenants) {
    const { files } = await openTable({ store, tenant, clock: systemClock, log }).refresh();
    blocks += files.size;
    for (const { path, sizeBytes } of files.values()) {
      for (const id of await spansOfBlock(store, `${tenant}/${path}`, sizeBytes)) {
        counts.set(id, (counts.get(id) ?? 0) + 1);
      }
    }
    for await (const { key } of store.list(`${tenant}/`)) {
      const path = key.slice(tenant.length + 1);
      if (!path.startsWith("_delta_log/") && !files.has(path)) strayObjects++;
    }
  }
  const doubled = [...counts].filter(([, count]) => count > 1).map(([id]) => id);
  const lost = model.requests
    .filter(({ acknowledgedMs }) => acknowledgedMs < Infinity)
    .flatMap(({ spans }) => spans.map(({ traceId, spanId }) => `${traceId}/${spanId}`))
    .filter((id) => !counts.has(id));
  const problems: string[] = [];
  const report = (count: number, text: string): void => void (count > 0 && problems.push(text));
  report(lost.length, `${lost.length} spans are lost: ${lost.slice(0, 5).join()}`);
  report(doubled.length, `${doubled.length} spans are stored twice: ${doubled.slice(0, 5).join()}`);
  report(strayObjects, `${strayObjects} objects are in no table`);
  return { blocks, lostSpans: lost.length, doubledSpans: doubled.length, strayObjects, problems };
}
