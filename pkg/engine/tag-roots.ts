/**
 * Roots of traces in a head, which has no columns of them: as a cut would write them, of the first
 * span without a parent (by start, then by arrival) of what the head has of each trace.
 */
import { columnOf, type DictColumn, isValid } from "#pkg/columns/columns.ts";
import type { HeadBatch } from "#pkg/columns/head-batch.ts";
import { serviceColumn } from "./service.ts";

/** Per row, name or service of its trace's root; undefined if no span has one. */
export function headRoots(batch: HeadBatch, what: "name" | "service"): DictColumn | undefined {
  const source = what === "name" ? columnOf(batch, "name", "dict") : serviceColumn(batch);
  const traces = columnOf(batch, "trace_id", "dict");
  const starts = columnOf(batch, "start_unix_nano", "int64");
  if (source === undefined || traces === undefined || starts === undefined) return undefined;
  const parents = columnOf(batch, "parent_span_id", "int64");
  const rootRows = new Int32Array(traces.dictionary.length).fill(-1);
  for (let row = 0; row < batch.rows; row++) {
    if (parents !== undefined && isValid(parents.valid, row)) continue;
    const trace = traces.codes[row];
    const known = rootRows[trace];
    if (known < 0 || starts.values[row] < starts.values[known]) rootRows[trace] = row;
  }
  const codes = new Int32Array(batch.rows).fill(-1);
  for (let row = 0; row < batch.rows; row++) {
    const root = rootRows[traces.codes[row]];
    if (root >= 0) codes[row] = source.codes[root];
  }
  return { ...source, codes };
}
