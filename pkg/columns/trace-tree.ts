// HOT: runs per span at each cut; measured by `npm run bench` (cut).
/**
 * The tree columns of a block: each span's position in its trace as a nested set (Joe Celko's
 * model, as in TraceQL's nestedSetLeft/Right/Parent), its child count, and the trace's root, start
 * and duration. They are computed from the spans in this block only.
 *
 * Numbering runs depth-first from every span without a parent, with children in order of their
 * start. `nested_parent` is the parent's left number, -1 for a root. A span without a path to a
 * root in this block is not connected: it has 0 in all three columns.
 */
import { type Column, type ColumnBatch, columnOf, isValid } from "./column-batch.ts";

/**
 * Returns the tree columns by name.
 *
 * @param batch Spans ordered by trace, and by start within a trace.
 * @param traceStarts Offset of the first row of each trace, then the row count.
 */
export function treeColumns(batch: ColumnBatch, traceStarts: Uint32Array): Map<string, Column> {
  const rows = batch.rows;
  const ids = new IdWords(batch);
  const left = new Int32Array(rows);
  const right = new Int32Array(rows);
  const parentLeft = new Int32Array(rows);
  const children = new Int32Array(rows);
  const parentRow = new Int32Array(rows);
  const rootRow = new Int32Array(rows).fill(-1);
  const traceStart = new BigInt64Array(rows);
  const traceDuration = new BigInt64Array(rows);
  const start = columnOf(batch, "start_unix_nano", "int64")!.values;
  const duration = columnOf(batch, "duration_nano", "int64")!.values;
  const index = new RowIndex();
  const links = new ChildLinks(rows);
  for (let trace = 0; trace + 1 < traceStarts.length; trace++) {
    const from = traceStarts[trace];
    const to = traceStarts[trace + 1];
    findParents(ids, index, from, to, parentRow);
    links.build(parentRow, children, from, to);
    const root = numberTree(links, parentRow, from, to, left, right, parentLeft);
    rootRow.fill(root, from, to);
    fillTimes(start, duration, from, to, traceStart, traceDuration);
  }
  return new Map<string, Column>([
    ["nested_left", int32(left)],
    ["nested_right", int32(right)],
    ["nested_parent", int32(parentLeft)],
    ["child_count", int32(children)],
    ...rootColumns(batch, rootRow),
    ["trace_start_unix_nano", { kind: "int64", values: traceStart, valid: undefined }],
    ["trace_duration_nano", { kind: "int64", values: traceDuration, valid: undefined }],
  ]);
}

/** The longest duration that the column can hold; longer ones are clamped. */
const int64Max = 2n ** 63n - 1n;

function int32(values: Int32Array): Column {
  return { kind: "int32", values, valid: undefined };
}

/** Span and parent ids of a batch as 32-bit words: comparing bigints would be slow. */
class IdWords {
  readonly span: Uint32Array;
  readonly parent: Uint32Array | undefined;
  readonly #parentValid: Uint8Array | undefined;

  constructor(batch: ColumnBatch) {
    const span = columnOf(batch, "span_id", "int64")!.values;
    const parent = columnOf(batch, "parent_span_id", "int64");
    this.span = new Uint32Array(span.buffer, span.byteOffset, span.length * 2);
    this.parent =
      parent && new Uint32Array(parent.values.buffer, parent.values.byteOffset, batch.rows * 2);
    this.#parentValid = parent?.valid;
  }

  hasParent(row: number): boolean {
    return this.parent !== undefined && isValid(this.#parentValid, row);
  }
}

/** Maps span ids to rows, for one trace at a time. Open addressing, cleared per trace. */
class RowIndex {
  #table = new Int32Array(64);
  #mask = 63;

  /** Indexes rows [from, to). If spans share an id, the first one is found. */
  build(span: Uint32Array, from: number, to: number): void {
    let size = 64;
    while (size < (to - from) * 2) size *= 2;
    if (size > this.#table.length) this.#table = new Int32Array(size);
    this.#mask = size - 1;
    this.#table.fill(-1, 0, size);
    for (let row = from; row < to; row++) {
      let slot = hashId(span[row * 2], span[row * 2 + 1]) & this.#mask;
      while (this.#table[slot] >= 0) {
        const other = this.#table[slot] * 2;
        if (span[other] === span[row * 2] && span[other + 1] === span[row * 2 + 1]) break;
        slot = (slot + 1) & this.#mask;
      }
      if (this.#table[slot] < 0) this.#table[slot] = row;
    }
  }

  find(span: Uint32Array, low: number, high: number): number {
    let slot = hashId(low, high) & this.#mask;
    for (; this.#table[slot] >= 0; slot = (slot + 1) & this.#mask) {
      const row = this.#table[slot];
      if (span[row * 2] === low && span[row * 2 + 1] === high) return row;
    }
    return -1;
  }
}

function hashId(low: number, high: number): number {
  const hash = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** Fills `parentRow`: the parent's row, -1 for a root, -2 if the trace lacks the parent. */
function findParents(
  ids: IdWords,
  index: RowIndex,
  from: number,
  to: number,
  parentRow: Int32Array,
): void {
  const { span, parent } = ids;
  if (to - from > 1) index.build(span, from, to);
  for (let row = from; row < to; row++) {
    if (!ids.hasParent(row)) parentRow[row] = -1;
    else if (to - from === 1) parentRow[row] = -2;
    else {
      const found = index.find(span, parent![row * 2], parent![row * 2 + 1]);
      // A span that names itself as its parent is not connected.
      parentRow[row] = found < 0 || found === row ? -2 : found;
    }
  }
}

/** Children of each row as linked lists, in row order. */
class ChildLinks {
  readonly first: Int32Array;
  readonly next: Int32Array;
  readonly #last: Int32Array;

  constructor(rows: number) {
    this.first = new Int32Array(rows).fill(-1);
    this.next = new Int32Array(rows).fill(-1);
    this.#last = new Int32Array(rows).fill(-1);
  }

  build(parentRow: Int32Array, children: Int32Array, from: number, to: number): void {
    for (let row = from; row < to; row++) {
      const parent = parentRow[row];
      if (parent < 0) continue;
      children[parent]++;
      if (this.first[parent] < 0) this.first[parent] = row;
      else this.next[this.#last[parent]] = row;
      this.#last[parent] = row;
    }
  }
}

/** Numbers the spans below every root; returns the first root's row, -1 if there is none. */
function numberTree(
  links: ChildLinks,
  parentRow: Int32Array,
  from: number,
  to: number,
  left: Int32Array,
  right: Int32Array,
  parentLeft: Int32Array,
): number {
  let number = 1;
  let firstRoot = -1;
  for (let root = from; root < to; root++) {
    if (parentRow[root] !== -1) continue;
    if (firstRoot < 0) firstRoot = root;
    parentLeft[root] = -1;
    left[root] = number++;
    let row = root;
    for (;;) {
      const child = links.first[row];
      if (child >= 0 && left[child] === 0) {
        left[child] = number++;
        parentLeft[child] = left[row];
        row = child;
        continue;
      }
      // Goes up until there is a sibling to the right.
      for (;;) {
        right[row] = number++;
        if (row === root) break;
        const sibling = links.next[row];
        const parent = parentRow[row];
        if (sibling >= 0) {
          left[sibling] = number++;
          parentLeft[sibling] = left[parent];
          row = sibling;
          break;
        }
        row = parent;
      }
      if (row === root && right[root] !== 0) break;
    }
  }
  return firstRoot;
}

function fillTimes(
  start: BigInt64Array,
  duration: BigInt64Array,
  from: number,
  to: number,
  traceStart: BigInt64Array,
  traceDuration: BigInt64Array,
): void {
  let first = start[from];
  let last = first;
  for (let row = from; row < to; row++) {
    if (start[row] < first) first = start[row];
    const end = duration[row] > 0n ? start[row] + duration[row] : start[row];
    if (end > last) last = end;
  }
  traceStart.fill(first, from, to);
  const length = last - first;
  traceDuration.fill(length > int64Max ? int64Max : length, from, to);
}

function rootColumns(batch: ColumnBatch, rootRow: Int32Array): [string, Column][] {
  const out: [string, Column][] = [];
  for (const [name, source] of [
    ["root_name", "name"],
    ["root_service", "resource.service.name"],
  ]) {
    const column = columnOf(batch, source, "dict");
    if (column === undefined) continue;
    const codes = new Int32Array(batch.rows);
    let found = false;
    for (let row = 0; row < batch.rows; row++) {
      codes[row] = rootRow[row] < 0 ? -1 : column.codes[rootRow[row]];
      found ||= codes[row] >= 0;
    }
    if (found) {
      out.push([name, { kind: "dict", type: "string", codes, dictionary: column.dictionary }]);
    }
  }
  return out;
}
