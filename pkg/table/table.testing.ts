/** Test support: tables over one store, blocks, and a clock that never waits. */
import type { Clock } from "#pkg/clock/clock.ts";
import { hasCode, type SpoorError } from "#pkg/errors/errors.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { commitKey } from "./history.ts";
import { openTable } from "./delta-table.ts";
import type { BlockFile, Change, ColumnDef } from "./table-model.ts";
import type { Table } from "./delta-table.ts";
import type { Snapshot } from "./table-model.ts";

export const nowMs = 1_763_800_000_000;
/** A clock whose sleeps return at once, so that pauses between attempts take no time. */
export const testClock: Clock = {
  nowMs: () => nowMs,
  monotonicMs: () => nowMs,
  sleep: async (_ms, signal) => {
    signal?.throwIfAborted();
  },
};

export const coreColumns: readonly ColumnDef[] = [
  { name: "start_unix_nano", type: "long" },
  { name: "name", type: "string" },
  { name: "event_name", type: "array<string>" },
];

export function tableOf(store: ObjectStore, tenant = "t1", clock: Clock = testClock): Table {
  return openTable({ store, tenant, clock, log: openLog("silent") });
}

export function blockOf(name: string, sizeBytes = 1000): BlockFile {
  return {
    path: `blocks/2025/11/22/${name}.parquet`,
    sizeBytes,
    modifiedMs: nowMs - 5,
    stats: {
      rows: 3,
      min: { start_unix_nano: 1_763_800_000_000_000_001n, name: "a" },
      max: { start_unix_nano: 1_763_800_000_000_000_003n, name: "z" },
    },
    tags: { "spoor.partition": "0/4" },
  };
}

export function pathOf(name: string): string {
  return blockOf(name).path;
}

export function pathsOf(snapshot: Snapshot): string[] {
  return [...snapshot.files.keys()].sort();
}

/** The text of a commit of table t1. */
export async function textAt(store: ObjectStore, version: number): Promise<string> {
  return new TextDecoder().decode(await store.get(commitKey("t1", version)));
}

/** Overwrites a commit of table t1. */
export async function putText(store: ObjectStore, version: number, text: string): Promise<void> {
  await store.put(commitKey("t1", version), new TextEncoder().encode(text));
}

/** Returns a change that adds the named blocks and the core columns. */
export function addOf(...names: string[]): Change {
  return {
    add: names.map((name) => blockOf(name)),
    columns: coreColumns,
    operation: "WRITE",
    dataChange: true,
  };
}

/** Returns the error of `call`, which must be a SpoorError with this code. */
export async function thrownBy(
  call: Promise<unknown>,
  code: SpoorError["code"],
): Promise<SpoorError> {
  const error: unknown = await call.then(
    (value) => new Error(`expected ${code}, got the value ${String(value)}`),
    (thrown: unknown) => thrown,
  );
  if (!hasCode(error, code)) throw error;
  return error;
}
