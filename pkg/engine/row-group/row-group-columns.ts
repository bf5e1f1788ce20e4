/** The columns of one row group. A question reads only those that it needs, each once. */
import { type ColumnBatch, columnOf, columnPrefix, type DictColumn } from "#pkg/columns/columns.ts";
import { Arena } from "#pkg/bytes/bytes.ts";
import type { TimeRange } from "#pkg/api/api.ts";
import type { ColumnChunk, RowRange } from "#pkg/parquet/parquet.ts";
import type { BlockReader, TagIndex } from "#pkg/block/block.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { FieldExpr } from "#pkg/traceql/traceql.ts";
import { filterColumns, spanColumnsOf } from "#pkg/engine/condition/filter.ts";
import { type LocateKey, type OneScope, typedColumns } from "#pkg/engine/condition/references.ts";
import { idsInRange } from "./row-clusters.ts";

const idColumn: readonly string[] = ["trace_id"];

/** The columns of one row group, each read once. */
export class RowGroupColumns {
  readonly rows: number;
  /** The entries of the tag index that the question's filter names. */
  readonly tags: TagIndex;
  /** For buffers that are valid until the question is answered. */
  readonly arena: Arena;
  readonly #reader: BlockReader;
  readonly #rowGroup: number;
  readonly #chunks: ReadonlyMap<string, ColumnChunk>;
  readonly #asked = new Set<string>();
  #batch: ColumnBatch;

  /** @param arena Allocates the columns; they are valid until its next `reset`. */
  constructor(reader: BlockReader, rowGroup: number, tags: TagIndex, arena: Arena = new Arena()) {
    const { rows, columns } = reader.rowGroups[rowGroup];
    this.rows = rows;
    this.tags = tags;
    this.#reader = reader;
    this.#rowGroup = rowGroup;
    this.arena = arena;
    this.#batch = { rows, names: [], column: () => undefined };
    this.#chunks = new Map(columns.map((chunk) => [chunk.name, chunk]));
  }

  /** Returns whether the index shows that all spans start in the range. */
  isInside({ startNano, endNano }: TimeRange): boolean {
    const { minStartNano, maxStartNano } = this.#reader.directory.rowGroups[this.#rowGroup];
    return BigInt(minStartNano) >= startNano && BigInt(maxStartNano) < endNano;
  }

  /** Returns the bytes to read for the named columns; columns read before cost nothing. */
  sizeOf(names: readonly string[]): number {
    const wanted = new Set(names.filter((name) => !this.#asked.has(name)));
    return [...wanted].reduce((sum, name) => sum + (this.#chunks.get(name)?.sizeBytes ?? 0), 0);
  }

  /**
   * Returns the names of the columns that a condition needs. "spans" leaves out columns from which
   * values of whole traces are computed.
   */
  namesFor(condition: FieldExpr, what: "all" | "spans" = "all"): string[] {
    const locate: LocateKey = (scope, key) => this.#locate(scope, key);
    return what === "all" ? filterColumns(condition, locate) : spanColumnsOf(condition, locate);
  }

  /** Finds out where the values of a key are stored, from the counts in the tag index. */
  #locate(scope: OneScope, key: string): ReturnType<LocateKey> {
    const { entries, truncated, covers } = this.tags;
    if (truncated) return "anywhere";
    const isInList = scope === "event" || scope === "link";
    if (isInList && !covers.includes(scope)) return "anywhere";
    const name = `${columnPrefix(scope)}.${key}`;
    const own = entries.filter((entry) => entry.key === name);
    if (own.length === 0) return "nowhere";
    let left = own.reduce((sum, { rows }) => sum + rows, 0);
    for (const column of typedColumns(scope, key)) {
      const chunk = this.#chunks.get(column);
      if (chunk === undefined) continue;
      if (chunk.nullCount === undefined) return "anywhere";
      left -= chunk.valueCount - chunk.nullCount;
    }
    return left === 0 ? "columns" : "anywhere";
  }

  /** Returns the trace ids of all rows. Throws Corrupt if the column is missing. */
  async traces(): Promise<DictColumn> {
    const traces = columnOf(await this.read(idColumn), "trace_id", "dict");
    if (traces === undefined) throw new SpoorError("Corrupt", "a row group lacks trace_id");
    return traces;
  }

  /** Reads a range of rows of the named columns; the batch also has the trace ids. */
  async readRows(names: readonly string[], range: RowRange): Promise<ColumnBatch> {
    if (range.to - range.from === this.rows) return await this.read([...idColumn, ...names]);
    const wanted = withoutIds(names);
    const ids = idsInRange(await this.traces(), range);
    return joined(
      ids,
      await this.#reader.readRowGroup(this.#rowGroup, wanted, { rows: range, arena: this.arena }),
    );
  }

  /** Reads all rows of the named columns; the batch also has the columns read before. */
  async read(names: readonly string[]): Promise<ColumnBatch> {
    const wanted = [...new Set(names.filter((name) => !this.#asked.has(name)))];
    if (wanted.length > 0) {
      const more = await this.#reader.readRowGroup(this.#rowGroup, wanted, { arena: this.arena });
      for (const name of wanted) this.#asked.add(name);
      this.#batch = joined(this.#batch, more);
    }
    return this.#batch;
  }
}

/** Returns the distinct names without the column of trace ids. */
export function withoutIds(names: readonly string[]): string[] {
  return [...new Set(names.filter((name) => !idColumn.includes(name)))];
}

/** Returns a batch with the columns of two batches of the same rows. */
function joined(a: ColumnBatch, b: ColumnBatch): ColumnBatch {
  return {
    rows: a.rows,
    names: [...a.names, ...b.names],
    column: (name) => a.column(name) ?? b.column(name),
  };
}
