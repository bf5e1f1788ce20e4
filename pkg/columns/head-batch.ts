/**
 * A ColumnBatch over given rows of a head, in the given order. Each column is built on first use.
 * Both live look-ups (few rows) and cuts (all rows, sorted) use it.
 */
import { type Column, type ColumnBatch, type DictColumn, type ByteValues } from "./column-batch.ts";
import { DictBuilder } from "./dict-builder.ts";
import { EnvelopeColumns } from "./envelopes.ts";
import { type HeadData, lowerBound, type SparseData, sparseString } from "./head.ts";
import { sparseBool, sparseDouble, sparseInt } from "./head.ts";
import { eventColumn, linkColumn, RestColumns } from "./head-lists.ts";
import type { Entries, HeadRowsView } from "./entries.ts";
import {
  attributeColumnName,
  enumWord,
  fixedColumns,
  kindWords,
  parseAttributeColumn,
  type ScalarType,
  statusWords,
} from "./schema.ts";

/** Batches with a smaller share of the head's rows search list entries per row. */
const searchShare = 1 / 64;

const sparseTypes: Record<number, ScalarType> = {
  [sparseString]: "string",
  [sparseInt]: "int64",
  [sparseDouble]: "double",
  [sparseBool]: "bool",
};

export class HeadBatch implements ColumnBatch, HeadRowsView {
  readonly rows: number;
  readonly data: HeadData;
  /** Row of the head for each row of the batch. */
  readonly rowIds: Uint32Array;
  readonly #chosen: ReadonlySet<string> | undefined;
  readonly #cache = new Map<string, Column | undefined>();
  readonly #sparseByName = new Map<string, SparseData>();
  #rank: Int32Array | undefined;
  #envelopes: EnvelopeColumns | undefined;
  #rest: RestColumns | undefined;
  #names: string[] | undefined;

  /**
   * @param rowIds Rows of the head, each at most once.
   * @param chosen Names of the attribute columns; all other attributes go to the rest lists.
   *   Undefined: every attribute that can have a column has one.
   */
  constructor(data: HeadData, rowIds: Uint32Array, chosen?: ReadonlySet<string>) {
    this.data = data;
    this.rows = rowIds.length;
    this.rowIds = rowIds;
    this.#chosen = chosen;
    for (const sparse of data.sparse) {
      const key = keyText(data.keys, sparse.keyCode);
      this.#sparseByName.set(attributeColumnName("span", key, sparseTypes[sparse.type]), sparse);
    }
  }

  get names(): readonly string[] {
    if (this.#names === undefined) {
      const attributes = [...this.#envelope().attributeRows().keys(), ...this.#sparseByName.keys()];
      const candidates = [...Object.keys(fixedColumns), ...attributes.filter((n) => this.#has(n))];
      this.#names = candidates.filter((name) => this.column(name) !== undefined);
    }
    return this.#names;
  }

  /** Counts the rows of the batch with each attribute that could be a column. */
  attributeRows(): Map<string, number> {
    const counts = this.#envelope().attributeRows();
    // Rows are distinct, so an equal count means all rows.
    const isWhole = this.rows === this.data.rows;
    for (const [name, sparse] of this.#sparseByName) {
      const rows = isWhole
        ? lowerBound(sparse.rows, sparse.rows.length, this.data.rows)
        : this.entries(sparse.rows).length;
      if (rows > 0) counts.set(name, rows);
    }
    return counts;
  }

  /** Returns a batch of these rows with another choice of attribute columns. */
  withColumns(chosen: ReadonlySet<string>): HeadBatch {
    return new HeadBatch(this.data, this.rowIds, chosen);
  }

  column(name: string): Column | undefined {
    if (this.#cache.has(name)) return this.#cache.get(name);
    const column = this.#make(name);
    this.#cache.set(name, column);
    return column;
  }

  /** Returns the span attributes that are not columns of this batch. */
  unchosenSparse(): SparseData[] {
    return [...this.#sparseByName].filter(([name]) => !this.#has(name)).map(([, sparse]) => sparse);
  }

  /** Returns the entries of a list that belong to this batch. `listRows` ascends. */
  entries(listRows: Uint32Array): Entries {
    if (this.rows < this.data.rows * searchShare) return this.#searchEntries(listRows);
    const rank = this.#ranks();
    const entry = new Uint32Array(listRows.length);
    const at = new Uint32Array(listRows.length);
    let length = 0;
    for (let i = 0; i < listRows.length; i++) {
      const position = listRows[i] < rank.length ? rank[listRows[i]] : -1;
      if (position < 0) continue;
      entry[length] = i;
      at[length++] = position;
    }
    return { entry, at, length };
  }

  #searchEntries(listRows: Uint32Array): Entries {
    const entry: number[] = [];
    const at: number[] = [];
    for (let position = 0; position < this.rows; position++) {
      const row = this.rowIds[position];
      let i = lowerBound(listRows, listRows.length, row);
      for (; i < listRows.length && listRows[i] === row; i++) {
        entry.push(i);
        at.push(position);
      }
    }
    return { entry: Uint32Array.from(entry), at: Uint32Array.from(at), length: entry.length };
  }

  #ranks(): Int32Array {
    if (this.#rank === undefined) {
      this.#rank = new Int32Array(this.data.rows).fill(-1);
      for (let i = 0; i < this.rows; i++) this.#rank[this.rowIds[i]] = i;
    }
    return this.#rank;
  }

  #has(name: string): boolean {
    return this.#chosen === undefined || this.#chosen.has(name);
  }

  #envelope(): EnvelopeColumns {
    this.#envelopes ??= new EnvelopeColumns(
      this.data,
      gather(this.data.perRow.envelope, this.rowIds),
    );
    return this.#envelopes;
  }

  #make(name: string): Column | undefined {
    const attribute = parseAttributeColumn(name);
    if (attribute !== undefined) {
      if (!this.#has(name)) return undefined;
      if (attribute.scope === "resource") return this.#envelope().attribute(name);
      const sparse = this.#sparseByName.get(name);
      return sparse === undefined ? undefined : this.#sparseColumn(sparse);
    }
    if (name.startsWith("scope_") || name.startsWith("resource_")) {
      return this.#envelope().fixed(name, this.#chosen);
    }
    if (name.startsWith("event_")) return eventColumn(this, name);
    if (name.startsWith("link_")) return linkColumn(this, name);
    if (name.startsWith("span_rest_")) {
      this.#rest ??= new RestColumns(this);
      return name === "span_rest_key" ? this.#rest.keys() : this.#rest.values();
    }
    return this.#perRow(name);
  }

  #perRow(name: string): Column | undefined {
    const { perRow, dictionaries } = this.data;
    switch (name) {
      case "trace_id":
        return this.#traceIds();
      case "span_id":
        return { kind: "int64", values: this.#pairs(perRow.spanId, true), valid: undefined };
      case "parent_span_id":
        return this.#parents();
      case "start_unix_nano":
        return { kind: "int64", values: this.#pairs(perRow.start, false), valid: undefined };
      case "duration_nano":
        return this.#durations();
      case "name":
        return dictColumn(gather(perRow.name, this.rowIds), dictionaries.name);
      case "kind":
        return enumColumn(gather(perRow.kind, this.rowIds), kindWords);
      case "status":
        return enumColumn(gather(perRow.status, this.rowIds), statusWords);
      case "status_message":
        return this.#optionalText(perRow.statusMessage, dictionaries.statusMessage);
      case "trace_state":
        return this.#optionalText(perRow.traceState, dictionaries.traceState);
      case "flags":
        return this.#counter(perRow.flags);
      case "dropped_attributes_count":
        return this.#counter(perRow.droppedAttributes);
      case "dropped_events_count":
        return this.#counter(perRow.droppedEvents);
      case "dropped_links_count":
        return this.#counter(perRow.droppedLinks);
      default:
        return undefined;
    }
  }

  #sparseColumn(sparse: SparseData): Column | undefined {
    const { entry, at, length } = this.entries(sparse.rows);
    if (length === 0) return undefined;
    if (sparse.type === sparseString) {
      const codes = new Int32Array(this.rows).fill(-1);
      for (let i = 0; i < length; i++) codes[at[i]] = sparse.values[entry[i]];
      return { kind: "dict", type: "string", codes, dictionary: sparse.dictionary! };
    }
    const valid = length === this.rows ? undefined : bitmap(at, length, this.rows);
    if (sparse.type === sparseBool) {
      const values = new Uint8Array(this.rows);
      for (let i = 0; i < length; i++) values[at[i]] = sparse.values[entry[i]];
      return { kind: "bool", values, valid };
    }
    const words = new Uint32Array(this.rows * 2);
    for (let i = 0; i < length; i++) {
      words[at[i] * 2] = sparse.values[entry[i] * 2];
      words[at[i] * 2 + 1] = sparse.values[entry[i] * 2 + 1];
    }
    return sparse.type === sparseInt
      ? { kind: "int64", values: new BigInt64Array(words.buffer), valid }
      : { kind: "double", values: new Float64Array(words.buffer), valid };
  }

  /** Returns 64-bit values from word pairs; `highFirst` is the order of words in the head. */
  #pairs(source: Uint32Array, highFirst: boolean): BigInt64Array {
    const words = new Uint32Array(this.rows * 2);
    const low = highFirst ? 1 : 0;
    for (let i = 0; i < this.rows; i++) {
      const row = this.rowIds[i] * 2;
      words[i * 2] = source[row + low];
      words[i * 2 + 1] = source[row + 1 - low];
    }
    return new BigInt64Array(words.buffer);
  }

  #parents(): Column | undefined {
    const values = this.#pairs(this.data.perRow.parentId, true);
    const words = new Uint32Array(values.buffer);
    const valid = new Uint8Array((this.rows + 7) >> 3);
    let count = 0;
    for (let i = 0; i < this.rows; i++) {
      if ((words[i * 2] | words[i * 2 + 1]) === 0) continue;
      valid[i >> 3] |= 1 << (i & 7);
      count++;
    }
    if (count === 0) return undefined;
    return { kind: "int64", values, valid: count === this.rows ? undefined : valid };
  }

  /**
   * Returns end minus start modulo 2^64, so that any end that a client sends is restored exactly.
   */
  #durations(): Column {
    const { start, end } = this.data.perRow;
    const words = new Uint32Array(this.rows * 2);
    for (let i = 0; i < this.rows; i++) {
      const row = this.rowIds[i] * 2;
      const low = end[row] - start[row];
      words[i * 2] = low;
      words[i * 2 + 1] = end[row + 1] - start[row + 1] - (low < 0 ? 1 : 0);
    }
    return { kind: "int64", values: new BigInt64Array(words.buffer), valid: undefined };
  }

  #traceIds(): DictColumn {
    const words = this.data.traceIds;
    const count = words.length >>> 2;
    const bytes = Buffer.allocUnsafe(count * 16);
    const offsets = new Int32Array(count + 1);
    for (let i = 0; i < words.length; i++) bytes.writeUInt32BE(words[i], i * 4);
    for (let i = 0; i <= count; i++) offsets[i] = i * 16;
    return {
      kind: "dict",
      type: "binary",
      codes: new Int32Array(gather(this.data.perRow.trace, this.rowIds).buffer),
      dictionary: { bytes, offsets, length: count },
    };
  }

  #optionalText(codes: Uint32Array, dictionary: ByteValues): Column | undefined {
    const out = new Int32Array(this.rows);
    let found = false;
    for (let i = 0; i < this.rows; i++) {
      const code = codes[this.rowIds[i]];
      out[i] = code === 0 ? -1 : code;
      found ||= code !== 0;
    }
    return found ? { kind: "dict", type: "string", codes: out, dictionary } : undefined;
  }

  #counter(source: Uint32Array): Column | undefined {
    const values = gather(source, this.rowIds);
    let bits = 0;
    for (let i = 0; i < values.length; i++) bits |= values[i];
    if (bits === 0) return undefined;
    return { kind: "int32", values: new Int32Array(values.buffer), valid: undefined };
  }
}

function gather(source: Uint32Array, rowIds: Uint32Array): Uint32Array<ArrayBuffer> {
  const out = new Uint32Array(rowIds.length);
  for (let i = 0; i < rowIds.length; i++) out[i] = source[rowIds[i]];
  return out;
}

function dictColumn(codes: Uint32Array, dictionary: ByteValues): DictColumn {
  return { kind: "dict", type: "string", codes: new Int32Array(codes.buffer), dictionary };
}

function enumColumn(values: Uint32Array, words: readonly string[]): DictColumn {
  const builder = new DictBuilder();
  const known = new Int32Array(words.length).fill(-1);
  const codes = new Int32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    let code = value < known.length ? known[value] : -1;
    if (code < 0) {
      code = builder.code(enumWord(words, value | 0));
      if (value < known.length) known[value] = code;
    }
    codes[i] = code;
  }
  return builder.column(codes);
}

function bitmap(at: Uint32Array, length: number, rows: number): Uint8Array {
  const valid = new Uint8Array((rows + 7) >> 3);
  for (let i = 0; i < length; i++) valid[at[i] >> 3] |= 1 << (at[i] & 7);
  return valid;
}

function keyText(keys: ByteValues, code: number): string {
  return Buffer.from(keys.bytes.subarray(keys.offsets[code], keys.offsets[code + 1])).toString();
}
