/**
 * The worker thread of verification: opens a block and checks row groups one by one. If the Parquet
 * reader panics here, verify-thread.ts starts a new worker. The worker reads through its parent,
 * which has the store.
 */
import { parentPort } from "node:worker_threads";
import { SpoorError } from "#pkg/errors/errors.ts";
import { Rpc, runInBackground } from "#pkg/threads/threads.ts";
import { Findings } from "./findings.ts";
import { type BlockReader, openBlock } from "#pkg/block/reader.ts";
import { checkRows } from "./verify-rows.ts";
import { checkTags } from "./verify-tags.ts";
import type { OpenArgs, ReadArgs, RowGroupReport } from "./verify-thread.ts";

if (parentPort === null) throw new SpoorError("Internal", "verify-worker.ts runs only as a worker");

runInBackground();

/** The block that is open, if any. */
const state: { reader: BlockReader | undefined } = { reader: undefined };

const parent: Rpc = new Rpc(parentPort, {
  open: async ({ key, sizeBytes }: OpenArgs): Promise<void> => {
    state.reader?.close();
    state.reader = await openBlock({ store: { getRange }, key, sizeBytes });
  },
  check: async (rowGroup: number): Promise<RowGroupReport> => await checkRowGroup(rowGroup),
});

async function getRange(_key: string, start: number, end: number): Promise<Uint8Array> {
  return (await parent.call("read", { start, end } satisfies ReadArgs)) as Uint8Array;
}

async function checkRowGroup(rowGroup: number): Promise<RowGroupReport> {
  const { reader } = state;
  if (reader === undefined) throw new SpoorError("Internal", "no block is open");
  const place = `row group ${rowGroup}`;
  const findings = new Findings();
  const batch = await reader.readRowGroup(rowGroup);
  const index = reader.directory.rowGroups[rowGroup];
  const { traceIds, isFit } = checkRows(batch, index, place, findings);
  if (isFit) checkTags(batch, await reader.tags(rowGroup), place, findings);
  return { findings: findings.list(), traceIds };
}
