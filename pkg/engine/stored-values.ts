// HOT: runs per row of searches that name values of whole traces; measured by `npm run
// bench:search -- --only whole`.
/**
 * Values of whole traces as a row group has them stored, where they are what all spans of the trace
 * in it come to (trace-columns.ts): the trace lies in the range, and no two of its spans start at
 * the same time, as the cut has put those in the order in which they came.
 */
import type { QueryPlan } from "#pkg/api/query.ts";
import { type Column, type ColumnBatch, wordPairs } from "#pkg/columns/columns.ts";
import type { IntrinsicName } from "#pkg/traceql/ast.ts";
import { evaluateFilter } from "./filter.ts";
import { intrinsicSources } from "./intrinsics.ts";
import { serviceColumnName } from "./service.ts";
import { spanStarts } from "./span-times.ts";

/** Traces by code, 1 or 0 each. */
export interface StoredMatches {
  /** The stored values tell that it matches. */
  matched: Uint8Array;
  /** The stored values do not tell. */
  unsure: Uint8Array;
}

/** The stored columns of the values; undefined if the row groups lack what these stand for. */
export function storedColumns(
  names: readonly IntrinsicName[],
  known: readonly string[],
): string[] | undefined {
  // What is among the rare attributes is no root's service.
  const isUnknown = names.includes("trace:rootService") && !known.includes(serviceColumnName);
  return isUnknown ? undefined : names.map((name) => intrinsicSources[name].column);
}

/**
 * What the stored values tell of traces that have a hit.
 *
 * @param batch All spans of these traces that the row group has.
 * @param hits 1 for each row in the range that may match, as far as it tells by itself.
 * @param inRange 1 for each row in the range; undefined: all are.
 */
export function storedMatches(
  batch: ColumnBatch,
  { filter, traceNames }: QueryPlan,
  { hits, inRange }: { hits: Uint8Array; inRange: Uint8Array | undefined },
): StoredMatches {
  const { traces, start } = spanStarts(batch);
  const { codes, dictionary } = traces;
  const unsure = new Uint8Array(dictionary.length);
  if (inRange !== undefined) {
    for (let row = 0; row < codes.length; row++) unsure[codes[row]] |= 1 - inRange[row];
  }
  const isTimeOnly = traceNames.every((name) => name === "trace:duration");
  if (!isTimeOnly) markTies(codes, start, unsure);
  const sure = hits.slice();
  for (let row = 0; row < sure.length; row++) sure[row] &= 1 - unsure[codes[row]];
  const found = evaluateFilter(withStored(batch, traceNames), filter, sure);
  const matched = new Uint8Array(dictionary.length);
  for (let row = 0; row < found.length; row++) matched[codes[row]] |= found[row];
  return { matched, unsure };
}

/** Marks traces of which a row does not start after the one before, or that lie in two places. */
function markTies(codes: Int32Array, start: BigInt64Array, unsure: Uint8Array): void {
  const words = wordPairs(start);
  const seen = new Uint8Array(unsure.length);
  let last = -1;
  for (let row = 0; row < codes.length; row++) {
    const code = codes[row];
    if (code !== last) {
      unsure[code] |= seen[code];
      seen[code] = 1;
      last = code;
      continue;
    }
    const high = words[row * 2 + 1] - words[row * 2 - 1];
    const isAfter = high > 0 || (high === 0 && words[row * 2] >>> 0 > words[row * 2 - 2] >>> 0);
    if (!isAfter) unsure[code] = 1;
  }
}

/** Texts that no trace of the block has are not stored. */
function withStored(batch: ColumnBatch, names: readonly IntrinsicName[]): ColumnBatch {
  const missing = new Map<string, Column>();
  for (const name of names) {
    const { column } = intrinsicSources[name];
    const isText = name === "trace:rootName" || name === "trace:rootService";
    if (!isText || batch.column(column) !== undefined) continue;
    const dictionary = { bytes: new Uint8Array(0), offsets: new Int32Array(1), length: 0 };
    const codes = new Int32Array(batch.rows).fill(-1);
    missing.set(column, { kind: "dict", type: "string", codes, dictionary });
  }
  return {
    rows: batch.rows,
    names: [...batch.names, ...missing.keys()],
    column: (name) => missing.get(name) ?? batch.column(name),
  };
}
