/**
 * The rule for the root of a trace, shared by all code. The root is the span without a parent that
 * starts first; ties are decided by id, then by service and name, compared as UTF-8. The order of
 * rows in a block (trace-order.ts) agrees with it, except for spans with equal start and id.
 */
import {
  type ColumnBatch,
  columnOf,
  type DictColumn,
  type Int64Column,
  isValid,
  valueBytes,
} from "./column-batch.ts";

/** The fields of a span that the rule uses. */
interface RootFacts {
  /** 16 hex digits. */
  spanId: string;
  service: string;
  name: string;
  startNano: bigint;
}

/** Compares two candidate roots; the root of a trace is the least of its parts' roots. */
export function compareRoots(a: RootFacts, b: RootFacts): number {
  if (a.startNano !== b.startNano) return a.startNano < b.startNano ? -1 : 1;
  if (a.spanId !== b.spanId) return a.spanId < b.spanId ? -1 : 1;
  return compareUtf8(a.service, b.service) || compareUtf8(a.name, b.name);
}

function compareUtf8(a: string, b: string): number {
  return a === b ? 0 : Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Applies the rule to the rows of a batch. */
export class RootOrder {
  readonly #rows: number;
  readonly #traces: DictColumn | undefined;
  readonly #starts: BigInt64Array | undefined;
  readonly #ids: BigInt64Array | undefined;
  readonly #parents: Int64Column | undefined;
  readonly #services: DictColumn | undefined;
  readonly #names: DictColumn | undefined;

  /** @param services The service of each row, from a column or from the rest list. */
  constructor(batch: ColumnBatch, services: DictColumn | undefined) {
    this.#rows = batch.rows;
    this.#traces = columnOf(batch, "trace_id", "dict");
    this.#starts = columnOf(batch, "start_unix_nano", "int64")?.values;
    this.#ids = columnOf(batch, "span_id", "int64")?.values;
    this.#parents = columnOf(batch, "parent_span_id", "int64");
    this.#services = services;
    this.#names = columnOf(batch, "name", "dict");
  }

  /** Returns whether the span has no parent. */
  isRoot(row: number): boolean {
    return this.#parents === undefined || !isValid(this.#parents.valid, row);
  }

  /** Compares two spans in the order of the rule. */
  compare(a: number, b: number): number {
    const [startA, startB] = [this.#starts?.[a] ?? 0n, this.#starts?.[b] ?? 0n];
    if (startA !== startB) return startA < startB ? -1 : 1;
    const idA = BigInt.asUintN(64, this.#ids?.[a] ?? 0n);
    const idB = BigInt.asUintN(64, this.#ids?.[b] ?? 0n);
    if (idA !== idB) return idA < idB ? -1 : 1;
    return compareCodes(this.#services, a, b) || compareCodes(this.#names, a, b);
  }

  /**
   * Returns the root's row of each trace, by the code of its id; -1 if it has no root.
   *
   * @param selection 1 for each row to consider; undefined: all.
   */
  rowsByTrace(selection?: Uint8Array): Int32Array {
    const roots = new Int32Array(this.#traces?.dictionary.length ?? 0).fill(-1);
    if (this.#traces === undefined) return roots;
    const { codes } = this.#traces;
    for (let row = 0; row < this.#rows; row++) {
      if (selection?.[row] === 0 || !this.isRoot(row)) continue;
      const known = roots[codes[row]];
      if (known < 0 || this.compare(row, known) < 0) roots[codes[row]] = row;
    }
    return roots;
  }
}

const noBytes = new Uint8Array(0);

/** Compares two rows of a column by their bytes; null equals the empty text. */
export function compareCodes(column: DictColumn | undefined, a: number, b: number): number {
  if (column === undefined || column.codes[a] === column.codes[b]) return 0;
  const bytes = (code: number): Uint8Array =>
    code < 0 ? noBytes : valueBytes(column.dictionary, code);
  return Buffer.compare(bytes(column.codes[a]), bytes(column.codes[b]));
}
