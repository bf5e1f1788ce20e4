/** Checks of crash rounds: traces by id on the server, and every stored span at the end. */
import { Registry } from "prom-client";
import type { SpoorProcess } from "#integration/parts/spoor.ts";
import { readBucket } from "#integration/parts/stored.ts";
import { compactorConfig } from "#modules/compactor/config.ts";
import { Compactor } from "#modules/compactor/compactor.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { singleTenant } from "#pkg/tenant/tenant-name.ts";
import { openTable } from "#pkg/table/delta-table.ts";
import type { SentTrace } from "./client.ts";

/** Requests traces by id; each must have exactly its spans. Returns the problems. */
export async function checkTraces(
  server: SpoorProcess,
  traces: readonly SentTrace[],
): Promise<string[]> {
  const problems: string[] = [];
  for (const { traceId, spanIds } of traces) {
    const response = await fetch(`${server.address}/api/v2/traces/${traceId}`);
    const text = await response.text();
    if (response.status !== 200) {
      problems.push(`trace ${traceId}: ${response.status} ${text}`);
      continue;
    }
    const ids = [...text.matchAll(/"spanId":"([^"]+)"/g)].map(([, id]) =>
      Buffer.from(id, "base64").toString("hex"),
    );
    if (ids.sort().join() !== [...spanIds].sort().join()) {
      problems.push(`trace ${traceId}: has spans ${ids.join()}, expected ${spanIds.join()}`);
    }
    if (text.includes('"status":"PARTIAL"')) problems.push(`trace ${traceId}: partial response`);
  }
  return problems;
}

export interface StoredCheck {
  acknowledgedSpans: number;
  /** Acknowledged spans that are in no block, and spans that are in blocks more than once. */
  lostSpans: number;
  doubledSpans: number;
  blocks: number;
  /** Block objects that no commit names, after clean-up. */
  strayObjects: number;
}

/** Counts every span in every block of the table, without the server. */
export async function checkStored(
  store: ObjectStore,
  acknowledged: readonly SentTrace[],
): Promise<StoredCheck> {
  const { blocks, counts } = await readBucket(store);
  const ids = acknowledged.flatMap(({ traceId, spanIds }) =>
    spanIds.map((spanId) => `${traceId}/${spanId}`),
  );
  return {
    acknowledgedSpans: ids.length,
    lostSpans: ids.filter((id) => !counts.has(id)).length,
    doubledSpans: [...counts.values()].filter((count) => count > 1).length,
    blocks,
    strayObjects: await strayObjects(store),
  };
}

/** Runs the compactor with a clock two days ahead, and counts objects that no commit names. */
async function strayObjects(store: ObjectStore): Promise<number> {
  const log = openLog("silent");
  const later = { ...systemClock, nowMs: () => Date.now() + 2 * 24 * 3600 * 1000 };
  const table = openTable({ store, tenant: singleTenant, clock: later, log });
  const compactor = new Compactor({
    // Allows the clock to be ahead of the bucket's.
    config: compactorConfig.parse({ clockSkewMs: 4 * 24 * 3600 * 1000 }),
    log,
    registry: new Registry(),
    clock: later,
    store,
    tableOf: () => table,
  });
  await compactor.runOnce();
  const { files } = await table.refresh();
  let stray = 0;
  for await (const { key } of store.list(`${singleTenant}/`)) {
    const path = key.slice(singleTenant.length + 1);
    if (!path.startsWith("_delta_log/") && !files.has(path)) stray++;
  }
  return stray;
}
