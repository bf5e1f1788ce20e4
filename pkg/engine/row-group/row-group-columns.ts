/** The columns of one row group as a question reads them: the fewest, each once. */
import { type ColumnBatch, columnOf, columnPrefix, type DictColumn } from "#pkg/columns/columns.ts";
import { Arena } from "#pkg/bytes/bytes.ts";
import type { TimeRange } from "#pkg/api/api.ts";
import type { ColumnChunk, RowRange } from "#pkg/parquet/parquet.ts";
import type { BlockReader, TagIndex } from "#pkg/block/block.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { FieldExpr } from "#pkg/traceql/traceql.ts";
import { filterColumns, spanColumnsOf } from "#pkg/engine/condition/filter.ts";
import { type KeyPlaces, type OneScope, typedColumns } from "#pkg/engine/condition/references.ts";
import { idsInRange } from "./row-clusters.ts";

const idColumn: readonly string[] = ["trace_id"];

/** The columns of one row group, each read once. */
export class RowGroupColumns {
  readonly rows: number;
  /** The entries of the tag index that the question's filter names. */
  readonly tags: TagIndex;
  /** For what is good until the question is answered. */
  readonly arena: Arena;
  readonly #reader: BlockReader;
  readonly #rowGroup: number;
  readonly #chunks: ReadonlyMap<string, ColumnChunk>;
  readonly #asked = new Set<string>();
  #batch: ColumnBatch;

  /** @param arena for columns; they are good until its next `reset`. */
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

  /** Whether all spans overlap the range, from the index. */
  isInside({ startNano, endNano }: TimeRange): boolean {
    const { minStartNano, maxStartNano } = this.#reader.directory.rowGroups[this.#rowGroup];
    return BigInt(minStartNano) >= startNano && BigInt(maxStartNano) < endNano;
  }

  /** Bytes that reading the named columns takes; those that are there take none. */
  sizeOf(names: readonly string[]): number {
    const wanted = new Set(names.filter((name) => !this.#asked.has(name)));
    return [...wanted].reduce((sum, name) => sum + (this.#chunks.get(name)?.sizeBytes ?? 0), 0);
  }

  /**
   * Names of the columns that evaluating a condition on these rows takes; with "spans" only those
   * of what it says of single spans.
   */
  namesFor(condition: FieldExpr, what: "all" | "spans" = "all"): string[] {
    const places: KeyPlaces = (scope, key) => this.#placesOf(scope, key);
    return what === "all" ? filterColumns(condition, places) : spanColumnsOf(condition, places);
  }

  /** From the tag index, which counts the values of a key wherever they are. */
  #placesOf(scope: OneScope, key: string): ReturnType<KeyPlaces> {
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

  /** The ids, all of them: they tell where traces are. */
  async traces(): Promise<DictColumn> {
    const traces = columnOf(await this.read(idColumn), "trace_id", "dict");
    if (traces === undefined) throw new SpoorError("Corrupt", "a row group lacks trace_id");
    return traces;
  }

  /** A batch of some rows with their ids and the named columns. */
  async readRows(names: readonly string[], range: RowRange): Promise<ColumnBatch> {
    if (range.to - range.from === this.rows) return await this.read([...idColumn, ...names]);
    const wanted = withoutIds(names);
    const ids = idsInRange(await this.traces(), range);
    return joined(
      ids,
      await this.#reader.readRowGroup(this.#rowGroup, wanted, { rows: range, arena: this.arena }),
    );
  }

  /** A batch that has the named columns, and those that were read before. */
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

/** Names without those of the ids. */
export function withoutIds(names: readonly string[]): string[] {
  return [...new Set(names.filter((name) => !idColumn.includes(name)))];
}

/** Two batches of the same rows as one. */
function joined(a: ColumnBatch, b: ColumnBatch): ColumnBatch {
  return {
    rows: a.rows,
    names: [...a.names, ...b.names],
    column: (name) => a.column(name) ?? b.column(name),
  };
}
