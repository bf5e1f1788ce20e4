/**
 * The head: spans that are in no block yet, as append-only columns in shared memory.
 *
 * Each array of `HeadRows` has one entry per span. Attributes are sparse columns, one per key and
 * type, of (row, value) pairs in row order. Resource and scope are stored once per distinct pair
 * (an "envelope"). `HeadDecoder` in head-decode.ts fills a head; `HeadBatch` is its ColumnBatch.
 *
 * One thread appends. `freeze()` takes a snapshot that other threads may read meanwhile: values
 * below the snapshot's lengths are never overwritten.
 */
import { GrowU32, Ledger, WireWriter } from "#pkg/bytes/bytes.ts";
import { ByteDictionary } from "./byte-dictionary.ts";
import { type ByteValues, valueBytes } from "./column-batch.ts";
import { columnKeyPattern } from "./schema.ts";
import { TraceIds } from "./trace-ids.ts";

/** Scalar types of sparse columns; part of the index in `Head.sparse`. */
export const sparseString = 0;
export const sparseInt = 1;
export const sparseDouble = 2;
export const sparseBool = 3;

/**
 * Sparse columns in one head at most; attributes of further (key, type) pairs go to the rest list.
 */
const sparseColumnsMax = 2000;

/** Values of one attribute key and type. Numbers are pairs (low, high 32 bits) in `values`. */
export class SparseColumn {
  readonly keyCode: number;
  readonly type: number;
  readonly rows: GrowU32;
  readonly values: GrowU32;
  readonly dictionary: ByteDictionary | undefined;

  constructor(keyCode: number, type: number, ledger: Ledger, seed: number) {
    this.keyCode = keyCode;
    this.type = type;
    this.rows = new GrowU32(ledger, 16);
    this.values = new GrowU32(ledger, 16);
    this.dictionary = type === sparseString ? new ByteDictionary(ledger, seed) : undefined;
  }

  /**
   * Removes the value of the row that is being decoded, if the column has one, and returns it as an
   * encoded AnyValue. No snapshot contains this row yet.
   */
  takeLast(row: number): Uint8Array | undefined {
    const { rows, values } = this;
    if (rows.length === 0 || rows.values[rows.length - 1] !== row) return undefined;
    rows.length--;
    const isWide = this.type === sparseInt || this.type === sparseDouble;
    values.length -= isWide ? 2 : 1;
    const [low, high] = [values.values[values.length], values.values[values.length + 1]];
    const writer = new WireWriter();
    if (this.type === sparseString) {
      writer.bytesField(1, valueBytes(this.dictionary!.values(), low));
    } else if (this.type === sparseBool) writer.uint(2, low);
    else {
      const bits = (BigInt(high) << 32n) | BigInt(low);
      if (this.type === sparseInt) writer.int64(3, bits);
      else writer.fixed64(4, bits);
    }
    return writer.bytes();
  }
}

/** Arrays with one entry per span; ids and times have two (see `HeadData`). */
export class HeadRows {
  readonly trace: GrowU32;
  readonly spanId: GrowU32;
  readonly parentId: GrowU32;
  readonly start: GrowU32;
  readonly end: GrowU32;
  readonly name: GrowU32;
  readonly kind: GrowU32;
  readonly status: GrowU32;
  readonly statusMessage: GrowU32;
  readonly traceState: GrowU32;
  readonly flags: GrowU32;
  readonly droppedAttributes: GrowU32;
  readonly droppedEvents: GrowU32;
  readonly droppedLinks: GrowU32;
  readonly envelope: GrowU32;

  constructor(ledger: Ledger) {
    const make = (): GrowU32 => new GrowU32(ledger, 1024);
    this.trace = make();
    this.spanId = make();
    this.parentId = make();
    this.start = make();
    this.end = make();
    this.name = make();
    this.kind = make();
    this.status = make();
    this.statusMessage = make();
    this.traceState = make();
    this.flags = make();
    this.droppedAttributes = make();
    this.droppedEvents = make();
    this.droppedLinks = make();
    this.envelope = make();
  }
}

/** Creates parallel lists with one entry per event, link or rest attribute; `row` ascends. */
function growList<K extends string>(ledger: Ledger, keys: readonly K[]): Record<K, GrowU32> {
  return Object.fromEntries(keys.map((key) => [key, new GrowU32(ledger)])) as Record<K, GrowU32>;
}

const envelopeKeys = ["resource", "resourceSchema", "scope", "scopeSchema"] as const;
const restKeys = ["row", "key", "value"] as const;
const eventKeys = ["row", "time", "name", "attributes", "dropped"] as const;
const linkKeys = [
  "row",
  "traceId",
  "spanId",
  "traceState",
  "attributes",
  "dropped",
  "flags",
] as const;

/** Dictionaries by content: UTF-8 text, or raw bytes as received (protobuf messages, ids). */
const textDictionaries = ["name", "statusMessage", "traceState", "schemaUrl", "key"] as const;
const rawDictionaries = ["resource", "scope", "restValue", "attributes", "linkId"] as const;
type DictionaryName = (typeof textDictionaries)[number] | (typeof rawDictionaries)[number];

export class Head {
  readonly ledger: Ledger = new Ledger();
  readonly rowArrays: HeadRows = new HeadRows(this.ledger);
  readonly traceIds: TraceIds;
  readonly envelopes: Record<(typeof envelopeKeys)[number], GrowU32>;
  readonly rest: Record<(typeof restKeys)[number], GrowU32>;
  readonly events: Record<(typeof eventKeys)[number], GrowU32>;
  readonly links: Record<(typeof linkKeys)[number], GrowU32>;
  readonly dictionaries: Record<DictionaryName, ByteDictionary>;
  /** Sparse columns by keyCode * 4 + type; undefined if there is none. */
  readonly sparse: (SparseColumn | undefined)[] = [];
  rows = 0;
  readonly #seed: number;
  readonly #envelopeIndex = new Map<string, number>();
  /** By key code: 1 if the key may have columns, 0 if not, undefined if not checked yet. */
  readonly #keyAllowed: number[] = [];
  #sparseCount = 0;

  /** @param seed Any 32-bit number; makes the hash tables unpredictable to clients. */
  constructor(seed: number) {
    this.#seed = seed;
    this.traceIds = new TraceIds(this.ledger, seed);
    this.envelopes = growList(this.ledger, envelopeKeys);
    this.rest = growList(this.ledger, restKeys);
    this.events = growList(this.ledger, eventKeys);
    this.links = growList(this.ledger, linkKeys);
    this.dictionaries = Object.fromEntries(
      [...textDictionaries, ...rawDictionaries].map((name) => [
        name,
        new ByteDictionary(this.ledger, seed),
      ]),
    ) as Record<DictionaryName, ByteDictionary>;
    const empty = new Uint8Array(0);
    // Code 0 is the empty value in dictionaries whose fields are usually absent.
    for (const name of ["statusMessage", "traceState", "schemaUrl", "attributes"] as const) {
      this.dictionaries[name].intern(empty, 0, 0);
    }
  }

  /** Bytes of memory, without the private hash table of trace ids. */
  get sizeBytes(): number {
    return this.ledger.sizeBytes;
  }

  /** Strings that were not UTF-8 and were repaired. */
  get repairedCount(): number {
    let count = 0;
    for (const name of textDictionaries) count += this.dictionaries[name].repairedCount;
    for (const column of this.sparse) count += column?.dictionary?.repairedCount ?? 0;
    return count;
  }

  /** Returns the sparse column of a key and type; undefined if its values go to the rest list. */
  sparseColumn(keyCode: number, type: number): SparseColumn | undefined {
    const column = this.sparse[keyCode * 4 + type];
    if (column !== undefined) return column;
    if (this.#sparseCount >= sparseColumnsMax || !this.#isKeyAllowed(keyCode)) return undefined;
    while (this.sparse.length < keyCode * 4 + 4) this.sparse.push(undefined);
    const made = new SparseColumn(keyCode, type, this.ledger, this.#seed);
    this.sparse[keyCode * 4 + type] = made;
    this.#sparseCount++;
    return made;
  }

  /** Removes the value of a key from the row that is being decoded; see `takeLast`. */
  takeSparse(keyCode: number, row: number): Uint8Array | undefined {
    for (let type = 0; type < 4; type++) {
      const taken = this.sparse[keyCode * 4 + type]?.takeLast(row);
      if (taken !== undefined) return taken;
    }
    return undefined;
  }

  #isKeyAllowed(keyCode: number): boolean {
    const known = this.#keyAllowed[keyCode];
    if (known !== undefined) return known === 1;
    while (this.#keyAllowed.length < keyCode) this.#keyAllowed.push(0);
    const { bytes, offsets } = this.dictionaries.key.values();
    const key = Buffer.from(
      bytes.buffer,
      offsets[keyCode],
      offsets[keyCode + 1] - offsets[keyCode],
    );
    const allowed = columnKeyPattern.test(key.toString("utf8"));
    this.#keyAllowed[keyCode] = allowed ? 1 : 0;
    return allowed;
  }

  /** Returns the index of an envelope; adds it if it is new. All arguments are dictionary codes. */
  envelope(resource: number, resourceSchema: number, scope: number, scopeSchema: number): number {
    const key = `${resource},${resourceSchema},${scope},${scopeSchema}`;
    const known = this.#envelopeIndex.get(key);
    if (known !== undefined) return known;
    const index = this.#envelopeIndex.size;
    this.#envelopeIndex.set(key, index);
    this.envelopes.resource.push(resource);
    this.envelopes.resourceSchema.push(resourceSchema);
    this.envelopes.scope.push(scope);
    this.envelopes.scopeSchema.push(scopeSchema);
    return index;
  }

  /**
   * Removes all data of rows at or after `rows`, including the row being decoded. Dictionaries keep
   * their values.
   */
  rollback(rows: number): void {
    const perRow = this.rowArrays;
    for (const name of Object.keys(perRow) as (keyof HeadRows)[]) {
      const wide = name === "spanId" || name === "parentId" || name === "start" || name === "end";
      perRow[name].length = Math.min(perRow[name].length, rows * (wide ? 2 : 1));
    }
    for (const column of this.sparse) {
      if (column === undefined) continue;
      const keep = lowerBound(column.rows.values, column.rows.length, rows);
      column.rows.length = keep;
      const wide = column.type === sparseInt || column.type === sparseDouble;
      column.values.length = keep * (wide ? 2 : 1);
    }
    truncateList(this.rest, rows, []);
    truncateList(this.events, rows, ["time"]);
    truncateList(this.links, rows, []);
    this.rows = rows;
  }

  /** Returns a snapshot of the first `rows` spans, which other threads may read. */
  freeze(): HeadData {
    const { key } = this.dictionaries;
    const keys = key.values();
    const sparse: SparseData[] = [];
    for (const column of this.sparse) {
      if (column === undefined || column.rows.length === 0) continue;
      sparse.push({
        keyCode: column.keyCode,
        type: column.type,
        rows: used(column.rows),
        values: used(column.values),
        dictionary: column.dictionary?.values(),
      });
    }
    return {
      rows: this.rows,
      perRow: mapValues(this.rowArrays as unknown as Record<keyof HeadRows, GrowU32>, used),
      traceIds: used(this.traceIds.words),
      envelopes: mapValues(this.envelopes, used),
      rest: mapValues(this.rest, used),
      events: mapValues(this.events, used),
      links: mapValues(this.links, used),
      dictionaries: mapValues(this.dictionaries, (dictionary) => dictionary.values()),
      keys,
      sparse,
    };
  }
}

export interface SparseData {
  keyCode: number;
  type: number;
  rows: Uint32Array;
  values: Uint32Array;
  dictionary: ByteValues | undefined;
}

/**
 * A head as plain data over shared memory. Some arrays have two words per entry: `perRow.spanId`
 * and `parentId` as (high, low), where a parent of zeros means none; `perRow.start`, `end`,
 * `events.time` and numeric sparse values as (low, high). `traceIds` has four big-endian words per
 * id.
 */
export interface HeadData {
  rows: number;
  perRow: Record<keyof HeadRows, Uint32Array>;
  traceIds: Uint32Array;
  envelopes: Record<(typeof envelopeKeys)[number], Uint32Array>;
  rest: Record<(typeof restKeys)[number], Uint32Array>;
  events: Record<(typeof eventKeys)[number], Uint32Array>;
  links: Record<(typeof linkKeys)[number], Uint32Array>;
  dictionaries: Record<DictionaryName, ByteValues>;
  keys: ByteValues;
  sparse: SparseData[];
}

/** Returns the first index of ascending `values[0, length)` whose value is at least `target`. */
export function lowerBound(values: Uint32Array, length: number, target: number): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle] < target) low = middle + 1;
    else high = middle;
  }
  return low;
}

function used(array: GrowU32): Uint32Array {
  return array.values.subarray(0, array.length);
}

function mapValues<K extends string, A, B>(
  source: Record<K, A>,
  map: (value: A) => B,
): Record<K, B> {
  return Object.fromEntries(
    (Object.keys(source) as K[]).map((key) => [key, map(source[key])]),
  ) as Record<K, B>;
}

function truncateList<K extends string>(
  list: Record<K | "row", GrowU32>,
  rows: number,
  wide: readonly K[],
): void {
  const keep = lowerBound(list.row.values, list.row.length, rows);
  for (const key of Object.keys(list) as K[]) {
    list[key].length = Math.min(list[key].length, keep * (wide.includes(key) ? 2 : 1));
  }
}
