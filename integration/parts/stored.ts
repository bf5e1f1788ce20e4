/** Reads the spans in a bucket without a server. */
import { join } from "node:path";
import { openBlock } from "#pkg/block/reader.ts";
import { BlockVerifier } from "#pkg/block/verify/verify.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { columnOf, valueBytes } from "#pkg/columns/column-batch.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { singleTenant } from "#pkg/tenant/tenant-name.ts";
import { openTable } from "#pkg/table/delta-table.ts";

export interface StoredSpans {
  blocks: number;
  /** `<trace id>/<span id>` -> number of stored copies. */
  counts: Map<string, number>;
}

/** Reads the bucket in a data folder, like `readBucket`. */
export async function readStored(dataDir: string, tenant?: string): Promise<StoredSpans> {
  return await readBucket(await openFsStore(join(dataDir, "bucket")), tenant);
}

/** Reads every span of every block in a tenant's table. Throws if a block does not verify. */
export async function readBucket(
  store: ObjectStore,
  tenant: string = singleTenant,
): Promise<StoredSpans> {
  const log = openLog("silent");
  const { files } = await openTable({ store, tenant, clock: systemClock, log }).refresh();
  const counts = new Map<string, number>();
  const verifier = new BlockVerifier();
  for (const file of files.values()) {
    const { path, sizeBytes } = file;
    const findings = await verifier.verify({ store, key: `${tenant}/${path}`, file });
    if (findings.length > 0) throw new Error(`block ${path}: ${JSON.stringify(findings)}`);
    for (const id of await spansOfBlock(store, `${tenant}/${path}`, sizeBytes)) {
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
  }
  await verifier.close();
  return { blocks: files.size, counts };
}

/** Returns `<trace id>/<span id>` of every span of a block. */
export async function spansOfBlock(
  store: ObjectStore,
  key: string,
  sizeBytes: number,
): Promise<string[]> {
  const reader = await openBlock({ store, key, sizeBytes });
  const out: string[] = [];
  for (let i = 0; i < reader.rowGroups.length; i++) {
    const batch = await reader.readRowGroup(i, ["trace_id", "span_id"]);
    const traces = columnOf(batch, "trace_id", "dict")!;
    const spans = columnOf(batch, "span_id", "int64")!;
    for (let row = 0; row < batch.rows; row++) {
      const traceId = Buffer.from(valueBytes(traces.dictionary, traces.codes[row]));
      const spanId = BigInt.asUintN(64, spans.values[row]).toString(16).padStart(16, "0");
      out.push(`${traceId.toString("hex")}/${spanId}`);
    }
  }
  reader.close();
  return out;
}
