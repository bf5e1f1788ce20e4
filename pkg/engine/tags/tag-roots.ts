/**
 * Roots of traces in a head, which has no columns of them: as a cut would write them, of what the
 * head has of each trace.
 */
import { columnOf, type DictColumn, type HeadBatch, RootOrder } from "#pkg/columns/columns.ts";
import { serviceColumn } from "#pkg/engine/trace/service.ts";

/** Per row, name or service of its trace's root; undefined if no span has one. */
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
