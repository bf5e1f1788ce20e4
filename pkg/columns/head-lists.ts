/** List columns of a head: events, links, and attributes that have no column of their own. */
import { decodeAnyValue, decodeKeyValueList, formatAttributesJson } from "#pkg/otlp/otlp.ts";
import {
  type ByteValues,
  type Column,
  type DictColumn,
  type ListColumn,
  valueBytes,
  valueText,
} from "./column-batch.ts";
import { DictBuilder } from "./dict-builder.ts";
import { type Entries, type HeadRowsView, listOffsets } from "./entries.ts";
import { type SparseData, sparseBool, sparseInt, sparseString } from "./head.ts";
import { formatRestValue } from "./rest-value.ts";

/** Returns a column whose name starts with `event_`. */
export function eventColumn(batch: HeadRowsView, name: string): Column | undefined {
  const { events, dictionaries } = batch.data;
  const entries = batch.entries(events.row);
  if (entries.length === 0) return undefined;
  switch (name) {
    case "event_time":
      return timeList(batch, entries, events.time);
    case "event_name":
      return dictList(batch, entries, events.name, dictionaries.name);
    case "event_attributes":
      return attributesList(batch, entries, events.attributes);
    case "event_dropped_attributes_count":
      return counterList(batch, entries, events.dropped);
    default:
      return undefined;
  }
}

/** Returns a column whose name starts with `link_`. */
export function linkColumn(batch: HeadRowsView, name: string): Column | undefined {
  const { links, dictionaries } = batch.data;
  const entries = batch.entries(links.row);
  if (entries.length === 0) return undefined;
  switch (name) {
    case "link_trace_id":
      return dictList(batch, entries, links.traceId, dictionaries.linkId, "binary");
    case "link_span_id":
      return dictList(batch, entries, links.spanId, dictionaries.linkId, "binary");
    case "link_trace_state":
      return dictList(batch, entries, links.traceState, dictionaries.traceState);
    case "link_attributes":
      return attributesList(batch, entries, links.attributes);
    case "link_dropped_attributes_count":
      return counterList(batch, entries, links.dropped);
    case "link_flags":
      return counterList(batch, entries, links.flags);
    default:
      return undefined;
  }
}

function dictList(
  batch: HeadRowsView,
  entries: Entries,
  codes: Uint32Array,
  dictionary: ByteValues,
  type: DictColumn["type"] = "string",
): ListColumn {
  const { offsets, order } = listOffsets(entries, batch.rows);
  const out = new Int32Array(order.length);
  for (let i = 0; i < order.length; i++) out[i] = codes[order[i]];
  return { kind: "list", offsets, child: { kind: "dict", type, codes: out, dictionary } };
}

function timeList(batch: HeadRowsView, entries: Entries, words: Uint32Array): ListColumn {
  const { offsets, order } = listOffsets(entries, batch.rows);
  const out = new Uint32Array(order.length * 2);
  for (let i = 0; i < order.length; i++) {
    out[i * 2] = words[order[i] * 2];
    out[i * 2 + 1] = words[order[i] * 2 + 1];
  }
  const values = new BigInt64Array(out.buffer);
  return { kind: "list", offsets, child: { kind: "int64", values, valid: undefined } };
}

function counterList(batch: HeadRowsView, entries: Entries, source: Uint32Array): ListColumn {
  const { offsets, order } = listOffsets(entries, batch.rows);
  const values = new Int32Array(order.length);
  for (let i = 0; i < order.length; i++) values[i] = source[order[i]];
  return { kind: "list", offsets, child: { kind: "int32", values, valid: undefined } };
}

/** Converts attribute lists to OTLP/JSON text, each distinct list once. */
function attributesList(batch: HeadRowsView, entries: Entries, source: Uint32Array): ListColumn {
  const { attributes } = batch.data.dictionaries;
  const { offsets, order } = listOffsets(entries, batch.rows);
  const builder = new DictBuilder();
  const codeOf = new Map<number, number>();
  const codes = new Int32Array(order.length);
  for (let i = 0; i < order.length; i++) {
    const raw = source[order[i]];
    let code = codeOf.get(raw);
    if (code === undefined) {
      const list = decodeKeyValueList(valueBytes(attributes, raw));
      code = builder.code(formatAttributesJson(list));
      codeOf.set(raw, code);
    }
    codes[i] = code;
  }
  return { kind: "list", offsets, child: builder.column(codes) };
}

/**
 * The lists `span_rest_key` and `span_rest_value`: the rest list of the head (arrays, nested
 * values, duplicate keys, keys that cannot be columns) and sparse columns that were not chosen as
 * columns.
 */
export class RestColumns {
  readonly #batch: HeadRowsView;
  readonly #offsets: Int32Array;
  readonly #keyCodes: Int32Array;
  readonly #valueCodes: Int32Array;
  readonly #values = new DictBuilder();

  constructor(batch: HeadRowsView) {
    this.#batch = batch;
    const { rest } = batch.data;
    const restEntries = batch.entries(rest.row);
    const sparse = batch.unchosenSparse().map((list) => ({
      list,
      entries: batch.entries(list.rows),
    }));
    const offsets = new Int32Array(batch.rows + 1);
    for (const { at, length } of [restEntries, ...sparse.map(({ entries }) => entries)]) {
      for (let i = 0; i < length; i++) offsets[at[i] + 1]++;
    }
    for (let row = 0; row < batch.rows; row++) offsets[row + 1] += offsets[row];
    this.#offsets = offsets;
    this.#keyCodes = new Int32Array(offsets[batch.rows]);
    this.#valueCodes = new Int32Array(offsets[batch.rows]);
    const next = offsets.slice(0, batch.rows);
    this.#fill(next, restEntries, (i) => rest.key[i], this.#rawValueCodes(rest.value));
    for (const { list, entries } of sparse) {
      this.#fill(next, entries, () => list.keyCode, this.#sparseValueCodes(list));
    }
  }

  keys(): ListColumn | undefined {
    const { keys } = this.#batch.data;
    return this.#list({ kind: "dict", type: "string", codes: this.#keyCodes, dictionary: keys });
  }

  values(): ListColumn | undefined {
    return this.#list(this.#values.column(this.#valueCodes));
  }

  #list(child: DictColumn): ListColumn | undefined {
    return child.codes.length === 0 ? undefined : { kind: "list", offsets: this.#offsets, child };
  }

  #fill(
    next: Int32Array,
    entries: Entries,
    keyOf: (entry: number) => number,
    valueOf: (entry: number) => number,
  ): void {
    for (let i = 0; i < entries.length; i++) {
      const slot = next[entries.at[i]]++;
      this.#keyCodes[slot] = keyOf(entries.entry[i]);
      this.#valueCodes[slot] = valueOf(entries.entry[i]);
    }
  }

  /**
   * Returns the codes of values that the head stores as protobuf; converts each distinct value
   * once.
   */
  #rawValueCodes(source: Uint32Array): (entry: number) => number {
    const { restValue } = this.#batch.data.dictionaries;
    const codeOf = new Map<number, number>();
    return (entry) => {
      const raw = source[entry];
      let code = codeOf.get(raw);
      if (code === undefined) {
        const value = decodeAnyValue(valueBytes(restValue, raw));
        code = this.#values.code(formatRestValue(value));
        codeOf.set(raw, code);
      }
      return code;
    };
  }

  #sparseValueCodes(list: SparseData): (entry: number) => number {
    const { values, dictionary } = list;
    switch (list.type) {
      case sparseString: {
        const codeOf = new Map<number, number>();
        return (entry) => {
          let code = codeOf.get(values[entry]);
          if (code === undefined) {
            code = this.#values.code(`s${valueText(dictionary!, values[entry])}`);
            codeOf.set(values[entry], code);
          }
          return code;
        };
      }
      case sparseBool:
        return (entry) => this.#values.code(values[entry] === 0 ? "b0" : "b1");
      default: {
        const isInt = list.type === sparseInt;
        const words = new Uint32Array(2);
        const ints = new BigInt64Array(words.buffer);
        const doubles = new Float64Array(words.buffer);
        return (entry) => {
          words[0] = values[entry * 2];
          words[1] = values[entry * 2 + 1];
          return this.#values.code(
            isInt ? `i${ints[0]}` : formatRestValue({ kind: "double", value: doubles[0] }),
          );
        };
      }
    }
  }
}
