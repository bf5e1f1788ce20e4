/**
 * Roots of the traces of a head. A head does not store them, so they are computed from its spans,
 * as a cut does when it writes a block.
 */
import { columnOf, type DictColumn, type HeadBatch, RootOrder } from "#pkg/columns/columns.ts";
import { serviceColumn } from "#pkg/engine/trace/service.ts";

/** Returns the name or service of its trace's root per row; undefined if no span has any. */
export function headRoots(batch: HeadBatch, what: "name" | "service"): DictColumn | undefined {
  const services = serviceColumn(batch);
  const source = what === "name" ? columnOf(batch, "name", "dict") : services;
  const traces = columnOf(batch, "trace_id", "dict");
  if (source === undefined || traces === undefined) return undefined;
  const rootRows = new RootOrder(batch, services).rowsByTrace();
  const codes = new Int32Array(batch.rows).fill(-1);
  for (let row = 0; row < batch.rows; row++) {
    const root = rootRows[traces.codes[row]];
    if (root >= 0) codes[row] = source.codes[root];
  }
  return { ...source, codes };
}
