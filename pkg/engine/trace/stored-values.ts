// HOT: runs per row of searches by values of whole traces; measured by `npm run bench:search`.
/**
 * Values of whole traces as stored in a row group. They equal the values computed from the spans of
 * the row group (trace-columns.ts) if the whole trace lies in the range and no two of its spans
 * start at the same time. Blocks of older versions order such spans by arrival, newer ones by id.
 */
import type { QueryPlan } from "#pkg/api/api.ts";
import type { Arena } from "#pkg/bytes/bytes.ts";
import { type Column, type ColumnBatch, wordPairs } from "#pkg/columns/columns.ts";
import type { IntrinsicName } from "#pkg/traceql/traceql.ts";
import { evaluateFilter } from "#pkg/engine/condition/filter.ts";
import { intrinsicSources } from "#pkg/engine/condition/intrinsics.ts";
import { serviceColumnName } from "./service.ts";
import { spanStarts } from "./span-times.ts";

/** Marks of traces by code, 1 or 0 each. */
export interface StoredMatches {
  /** The stored values show that the trace matches. */
  matched: Uint8Array;
  /** The stored values are not valid for the trace. */
  unsure: Uint8Array;
  /** A trace with a hit is unsure. */
  isUnsure: boolean;
  /** The earliest start of each trace, if all rows are in the range. */
  starts: BigInt64Array | undefined;
}

/** Returns the stored columns of the values; undefined if they cannot be used in this block. */
export function storedColumns(
  names: readonly IntrinsicName[],
  known: readonly string[],
): string[] | undefined {
  // A service among the rare attributes is not stored as the root's service.
  const isUnknown = names.includes("trace:rootService") && !known.includes(serviceColumnName);
  return isUnknown ? undefined : names.map((name) => intrinsicSources[name].column);
}

interface StoredOptions {
  /** 1 for each row in the range that satisfies the prefilter. */
  hits: Uint8Array;
  /** 1 for each row in the range; undefined: all are. */
  inRange: Uint8Array | undefined;
  arena: Arena;
}

/**
 * Decides by stored values which traces with a hit match.
 *
 * @param batch All spans of these traces in the row group.
 */
export function storedMatches(
  batch: ColumnBatch,
  { filter, traceNames }: QueryPlan,
  { hits, inRange, arena }: StoredOptions,
): StoredMatches {
  const { traces, start } = spanStarts(batch);
  const { codes, dictionary } = traces;
  const order = orderOf(codes, start, dictionary.length);
  const isTimeOnly = traceNames.every((name) => name === "trace:duration");
  const unsure = isTimeOnly ? new Uint8Array(dictionary.length) : order.ties;
  if (inRange !== undefined) {
    for (let row = 0; row < codes.length; row++) unsure[codes[row]] |= 1 - inRange[row];
  }
  const sure = arena.uint8(hits.length);
  let left = 0;
  for (let row = 0; row < sure.length; row++) {
    const isUnsure = hits[row] & unsure[codes[row]];
    sure[row] = hits[row] - isUnsure;
    left |= isUnsure;
  }
  const found = evaluateFilter(withStored(batch, traceNames), filter, sure, arena);
  const matched = new Uint8Array(dictionary.length);
  for (let row = 0; row < found.length; row++) matched[codes[row]] |= found[row];
  const starts = inRange === undefined && order.isOrdered ? order.starts : undefined;
  return { matched, unsure, isUnsure: left === 1, starts };
}

interface TraceOrder {
  /** Traces whose rows are not adjacent, or with a row that does not start after the one before. */
  ties: Uint8Array;
  /** The start of each trace's first row. */
  starts: BigInt64Array;
  /** For every trace, the first row has the earliest start. */
  isOrdered: boolean;
}

function orderOf(codes: Int32Array, start: BigInt64Array, traces: number): TraceOrder {
  const words = wordPairs(start);
  const ties = new Uint8Array(traces);
  const starts = new Int32Array(traces * 2);
  const seen = new Uint8Array(traces);
  let isOrdered = true;
  let last = -1;
  for (let row = 0; row < codes.length; row++) {
    const code = codes[row];
    if (code !== last) {
      last = code;
      if (seen[code] === 1) {
        ties[code] = 1;
        isOrdered = false;
        continue;
      }
      seen[code] = 1;
      starts[code * 2] = words[row * 2];
      starts[code * 2 + 1] = words[row * 2 + 1];
      continue;
    }
    const high = words[row * 2 + 1] - words[row * 2 - 1];
    const low = (words[row * 2] >>> 0) - (words[row * 2 - 2] >>> 0);
    if (high > 0 || (high === 0 && low > 0)) continue;
    ties[code] = 1;
    if (high < 0 || low < 0) isOrdered = false;
  }
  return { ties, starts: new BigInt64Array(starts.buffer), isOrdered };
}

/**
 * Adds empty columns for root names and services that the block does not store: no trace has one.
 */
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
