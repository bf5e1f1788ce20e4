// HOT: runs per row of searches that name values of whole traces; measured by filter.bench.ts.
/**
 * Computes values of whole traces as additional columns of a batch: duration, root and tree of each
 * trace. They depend only on the chosen rows. Stored columns are not used: they cover all spans of
 * the block, whatever the range of a query.
 *
 * The tree is numbered in this order of spans: by start, id, service, name (the order of roots, see
 * trace-root.ts), then by duration, status, parent. Spans equal in all of these have the same
 * fingerprint (fingerprints.ts), and a request for details compares them in full.
 */
import {
  type Column,
  type ColumnBatch,
  columnOf,
  compareCodes,
  type DictColumn,
  type Int64Column,
  RootOrder,
  treeColumns,
} from "#pkg/columns/columns.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { IntrinsicName } from "#pkg/traceql/traceql.ts";
import { serviceColumn, serviceColumnName, serviceRestColumns } from "./service.ts";
import { isOfWholeTrace } from "#pkg/engine/condition/intrinsics.ts";

const timeNames = ["trace_id", "start_unix_nano", "duration_nano"];
const orderNames = [
  "span_id",
  "parent_span_id",
  "name",
  "status",
  serviceColumnName,
  ...serviceRestColumns,
];

/** Columns that `withTraceColumns` reads for a name. */
export function traceColumnInputs(name: IntrinsicName): readonly string[] {
  return name === "trace:duration" ? timeNames : [...timeNames, ...orderNames];
}

export interface TraceColumns {
  batch: ColumnBatch;
  /**
   * 1 for each trace, by code, that may contain a duplicate span: its tree is uncertain. Undefined
   * if the tree was not requested.
   */
  doubtful: Uint8Array | undefined;
}

/**
 * Returns the batch with computed columns for the names that are values of the whole trace.
 *
 * @param selection 1 for each chosen row.
 */
export function withTraceColumns(
  batch: ColumnBatch,
  names: readonly IntrinsicName[],
  selection: Uint8Array,
): TraceColumns {
  const wanted = names.filter(isOfWholeTrace);
  if (wanted.length === 0) return { batch, doubtful: undefined };
  const spans = new TraceSpans(batch, selection);
  const made = new Map<string, Column>();
  if (wanted.includes("trace:duration")) made.set("trace_duration_nano", durations(spans));
  if (wanted.includes("trace:rootName") || wanted.includes("trace:rootService")) {
    const roots = spans.roots.rowsByTrace(selection);
    for (const [name, source] of [
      ["root_name", spans.names],
      ["root_service", spans.services],
    ] as const) {
      made.set(name, valueOfRoot(spans, roots, source));
    }
  }
  let doubtful: Uint8Array | undefined;
  if (wanted.some((name) => name === "span:childCount" || name.startsWith("nestedSet"))) {
    const tree = treesOf(spans);
    doubtful = tree.doubtful;
    for (const [name, column] of tree.columns) made.set(name, column);
  }
  return { batch: overlaid(batch, made), doubtful };
}

function overlaid(batch: ColumnBatch, made: ReadonlyMap<string, Column>): ColumnBatch {
  return {
    rows: batch.rows,
    names: [...new Set([...batch.names, ...made.keys()])],
    column: (name) => made.get(name) ?? batch.column(name),
  };
}

/** The chosen rows, and the columns that define their order. */
class TraceSpans {
  readonly rows: number;
  readonly selection: Uint8Array;
  readonly traces: DictColumn;
  readonly start: BigInt64Array;
  readonly duration: BigInt64Array;
  readonly ids: BigInt64Array | undefined;
  readonly parents: Int64Column | undefined;
  readonly names: DictColumn | undefined;
  readonly services: DictColumn | undefined;
  readonly statuses: DictColumn | undefined;
  readonly roots: RootOrder;

  constructor(batch: ColumnBatch, selection: Uint8Array) {
    const traces = columnOf(batch, "trace_id", "dict");
    const start = columnOf(batch, "start_unix_nano", "int64");
    const duration = columnOf(batch, "duration_nano", "int64");
    if (traces === undefined || start === undefined || duration === undefined) {
      throw new SpoorError("Corrupt", "a batch lacks trace_id, start_unix_nano or duration_nano");
    }
    this.rows = batch.rows;
    this.selection = selection;
    this.traces = traces;
    this.start = start.values;
    this.duration = duration.values;
    this.ids = columnOf(batch, "span_id", "int64")?.values;
    this.parents = columnOf(batch, "parent_span_id", "int64");
    this.names = columnOf(batch, "name", "dict");
    this.services = serviceColumn(batch);
    this.statuses = columnOf(batch, "status", "dict");
    this.roots = new RootOrder(batch, this.services);
  }

  isRoot(row: number): boolean {
    return this.roots.isRoot(row);
  }

  /** Compares two rows in the order of the module comment. */
  compare(a: number, b: number): number {
    const first = this.roots.compare(a, b);
    if (first !== 0) return first;
    if (this.duration[a] !== this.duration[b]) return this.duration[a] < this.duration[b] ? -1 : 1;
    const status = compareCodes(this.statuses, a, b);
    if (status !== 0) return status;
    const parentA = this.#parent(a);
    const parentB = this.#parent(b);
    return parentA < parentB ? -1 : parentA > parentB ? 1 : 0;
  }

  /** Returns the unsigned id of the parent; -1 for a root. */
  #parent(row: number): bigint {
    return this.isRoot(row) ? -1n : BigInt.asUintN(64, this.parents!.values[row]);
  }
}

const noBytes = new Uint8Array(0);

const int64Max = 2n ** 63n - 1n;

/** Returns the time from first start to last end. An end before the start counts as the start. */
function durations({ rows, selection, traces, start, duration }: TraceSpans): Column {
  const { codes, dictionary } = traces;
  const first = new BigInt64Array(dictionary.length);
  const last = new BigInt64Array(dictionary.length);
  const isKnown = new Uint8Array(dictionary.length);
  for (let row = 0; row < rows; row++) {
    if (selection[row] === 0) continue;
    const code = codes[row];
    const from = start[row];
    const to = duration[row] > 0n ? from + duration[row] : from;
    if (isKnown[code] === 0 || from < first[code]) first[code] = from;
    if (isKnown[code] === 0 || to > last[code]) last[code] = to;
    isKnown[code] = 1;
  }
  const lengths = new BigInt64Array(dictionary.length);
  for (let code = 0; code < lengths.length; code++) {
    const length = last[code] - first[code];
    // Clamped to int64, as in blocks.
    lengths[code] = length > int64Max ? int64Max : length;
  }
  const values = new BigInt64Array(rows);
  for (let row = 0; row < rows; row++) {
    if (selection[row] === 1) values[row] = lengths[codes[row]];
  }
  return { kind: "int64", values, valid: undefined };
}

function valueOfRoot(spans: TraceSpans, roots: Int32Array, source: DictColumn | undefined): Column {
  const codes = new Int32Array(spans.rows).fill(-1);
  const empty = { bytes: noBytes, offsets: new Uint32Array(1), length: 0 };
  for (let row = 0; row < spans.rows; row++) {
    const root = roots[spans.traces.codes[row]];
    if (source !== undefined && root >= 0) codes[row] = source.codes[root];
  }
  return { kind: "dict", type: "string", codes, dictionary: source?.dictionary ?? empty };
}

interface Trees {
  columns: [string, Column][];
  doubtful: Uint8Array;
}

const treeNames = ["nested_left", "nested_right", "nested_parent", "child_count"] as const;

/** Builds the trees over a sorted copy of the chosen rows; maps the values back to their rows. */
function treesOf(spans: TraceSpans): Trees {
  const { order, traceStarts } = orderedByTrace(spans);
  const doubtful = new Uint8Array(spans.traces.dictionary.length);
  for (let i = 1; i < order.length; i++) {
    const [a, b] = [order[i - 1], order[i]];
    const { codes } = spans.traces;
    const isSame = codes[a] === codes[b] && spans.start[a] === spans.start[b];
    if (isSame && spans.ids?.[a] === spans.ids?.[b]) doubtful[codes[a]] = 1;
  }
  const trees = treeColumns(gathered(spans, order), traceStarts);
  const columns = treeNames.map((name): [string, Column] => {
    const column = trees.get(name);
    if (column?.kind !== "int32") throw new SpoorError("Internal", `no tree column ${name}`);
    const values = new Int32Array(spans.rows);
    for (let i = 0; i < order.length; i++) values[order[i]] = column.values[i];
    return [name, { kind: "int32", values, valid: undefined }];
  });
  return { columns, doubtful };
}

/** Sorts the chosen rows by trace. `traceStarts` has the offset of each trace, then the count. */
function orderedByTrace(spans: TraceSpans): { order: Uint32Array; traceStarts: Uint32Array } {
  const { codes, dictionary } = spans.traces;
  const starts = new Uint32Array(dictionary.length + 1);
  for (let row = 0; row < spans.rows; row++)
    if (spans.selection[row] === 1) starts[codes[row] + 1]++;
  for (let i = 0; i < dictionary.length; i++) starts[i + 1] += starts[i];
  const next = starts.slice(0, dictionary.length);
  const order = new Uint32Array(starts[dictionary.length]);
  for (let row = 0; row < spans.rows; row++) {
    if (spans.selection[row] === 1) order[next[codes[row]]++] = row;
  }
  const traceStarts: number[] = [];
  for (let code = 0; code < dictionary.length; code++) {
    const [from, to] = [starts[code], starts[code + 1]];
    if (from === to) continue;
    traceStarts.push(from);
    order.subarray(from, to).sort((a, b) => spans.compare(a, b) || a - b);
  }
  traceStarts.push(order.length);
  return { order, traceStarts: Uint32Array.from(traceStarts) };
}

/** Copies the columns that `treeColumns` reads, in this order of rows. */
function gathered(spans: TraceSpans, order: Uint32Array): ColumnBatch {
  const take = (values: BigInt64Array | undefined): BigInt64Array => {
    const out = new BigInt64Array(order.length);
    if (values !== undefined) for (let i = 0; i < order.length; i++) out[i] = values[order[i]];
    return out;
  };
  const valid = new Uint8Array((order.length + 7) >> 3);
  for (let i = 0; i < order.length; i++) {
    if (!spans.isRoot(order[i])) valid[i >> 3] |= 1 << (i & 7);
  }
  const columns = new Map<string, Column>([
    ["span_id", { kind: "int64", values: take(spans.ids), valid: undefined }],
    ["parent_span_id", { kind: "int64", values: take(spans.parents?.values), valid }],
    ["start_unix_nano", { kind: "int64", values: take(spans.start), valid: undefined }],
    ["duration_nano", { kind: "int64", values: take(spans.duration), valid: undefined }],
  ]);
  return { rows: order.length, names: [...columns.keys()], column: (name) => columns.get(name) };
}
