// HOT: runs per value read from a block; measured by `npm run bench:search`.
/**
 * Decodes column chunks to columns. It supports what Spoor writes: flat columns and lists of one
 * level, with dictionary, plain or delta encoding, in version 1 data pages. The Parquet library
 * decodes everything else. Property tests compare the two.
 *
 *     page:  repetition levels (lists) | definition levels (nullable) | values that are there
 */
import { Arena } from "#pkg/bytes/bytes.ts";
import {
  CodedInt64,
  type Column,
  columnType,
  type DictColumn,
  type ListColumn,
} from "#pkg/columns/columns.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { type Cursor, cursorOf, readDelta, readHybrid } from "./bits.ts";
import { ByteValuesBuilder } from "./byte-values.ts";
import {
  bitmapOf,
  bitsOf,
  checkCodes,
  countOf,
  lookUpPairs,
  readLevels,
  readPlainBits,
  readPlainWords,
  skipIfAll,
  spreadCodes,
  spreadWords,
} from "./chunk-values.ts";
import type { ColumnChunk } from "./footer.ts";
import { type DataPage, encodings, isKnownCodec, openPage } from "./page.ts";

/** Parquet's physical types. */
const physical = { boolean: 0, int32: 1, int64: 2, double: 5, bytes: 6 } as const;

type Leaf = "dict" | "int64" | "int32" | "double" | "bool";

/** Returns the kind of a chunk's values; undefined if Spoor does not write its physical type. */
function leafOf({ name, physicalType }: ColumnChunk): { leaf: Leaf; isText: boolean } | undefined {
  const type = columnType(name)?.replace(/^list<(.*)>$/, "$1");
  const isText = type === "string";
  if ((isText || type === "binary") && physicalType === physical.bytes) {
    return { leaf: "dict", isText };
  }
  if (type === "int64" && physicalType === physical.int64) return { leaf: "int64", isText };
  if (type === "int32" && physicalType === physical.int32) return { leaf: "int32", isText };
  if (type === "double" && physicalType === physical.double) return { leaf: "double", isText };
  if (type === "bool" && physicalType === physical.boolean) return { leaf: "bool", isText };
  return undefined;
}

/**
 * Decodes the rows of some pages of a chunk. Returns undefined if the chunk has a feature that this
 * decoder does not support. Throws Corrupt.
 *
 * @param dictionary the bytes of the dictionary page, if the chunk has one.
 * @param runs the bytes of the data pages, in order.
 * @param rows the number of rows in these pages.
 * @param arena owns the column's arrays, which are valid until its next `reset`.
 */
export function decodeChunk(
  chunk: ColumnChunk,
  dictionary: Uint8Array | undefined,
  runs: readonly Uint8Array[],
  rows: number,
  arena: Arena = new Arena(),
): Column | undefined {
  const kind = leafOf(chunk);
  const { levels } = chunk;
  if (kind === undefined || levels === undefined || !isKnownCodec(chunk.codec)) return undefined;
  const pages = dataPages(chunk, runs);
  if (pages === undefined) return undefined;
  const count = pages.reduce((sum, page) => sum + page.count, 0);
  if (count > valuesMax) return undefined;
  if (levels.maxRepetition === 0 && count !== rows) {
    throw new SpoorError("Corrupt", `column ${chunk.name} has ${count} values, not ${rows}`);
  }
  const decoder = new ChunkDecoder(chunk, kind, count, arena);
  if (dictionary !== undefined && !decoder.readDictionary(dictionary)) return undefined;
  for (const page of pages) if (!decoder.readPage(page)) return undefined;
  return levels.maxRepetition === 0 ? decoder.flat() : decoder.list(rows);
}

/** Opens the data pages; returns undefined if one of them is of an unsupported kind. */
function dataPages({ codec }: ColumnChunk, runs: readonly Uint8Array[]): DataPage[] | undefined {
  const pages: DataPage[] = [];
  for (const bytes of runs) {
    for (let at = 0; at < bytes.length;) {
      const opened = openPage(bytes.subarray(at), codec);
      if (opened?.page.kind !== "data") return undefined;
      if (opened.page.count < 0) return undefined;
      pages.push(opened.page);
      at += opened.sizeBytes;
    }
  }
  return pages;
}

/** Values of a chunk at most. Larger chunks go to the library, which limits its own memory. */
const valuesMax = 64 * 1024 * 1024;

class ChunkDecoder {
  readonly #chunk: ColumnChunk;
  readonly #leaf: Leaf;
  readonly #arena: Arena;
  readonly #maxDefinition: number;
  readonly #isList: boolean;
  /** Levels of all pages; undefined for a column without such levels. */
  readonly #repetition: Uint8Array | undefined;
  #definition: Uint8Array | undefined;
  readonly #count: number;
  /** The non-null values, contiguous. */
  #codes: Int32Array | Uint8Array;
  #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #entries: ByteValuesBuilder;
  #dictionaryWords: Int32Array | undefined;
  #dictionaryLength = 0;
  #level = 0;
  #value = 0;

  constructor(chunk: ColumnChunk, { leaf }: { leaf: Leaf }, count: number, arena: Arena) {
    this.#chunk = chunk;
    this.#leaf = leaf;
    this.#arena = arena;
    const { maxDefinition, maxRepetition } = chunk.levels!;
    this.#maxDefinition = maxDefinition;
    this.#isList = maxRepetition > 0;
    this.#repetition = this.#isList ? arena.uint8(count) : undefined;
    this.#count = count;
    this.#codes = arena.int32(leaf === "dict" ? count : 0);
    this.#words = noWords;
    this.#bytes = arena.uint8(leaf === "bool" ? count : 0);
    // Spans of one trace must share one code, even if the ids have no dictionary page.
    this.#entries = new ByteValuesBuilder(chunk.name === "trace_id");
  }

  /** Reads the dictionary page; returns false if it is not supported. */
  readDictionary(bytes: Uint8Array): boolean {
    const opened = openPage(bytes, this.#chunk.codec);
    if (opened?.page.kind !== "dictionary") return false;
    const { body, count } = opened.page;
    this.#dictionaryLength = count;
    const cursor = cursorOf(body);
    switch (this.#leaf) {
      case "dict":
        this.#entries.addAll(cursor, count);
        return true;
      case "bool":
        return false;
      default: {
        const words = this.#leaf === "int32" ? count : count * 2;
        this.#dictionaryWords = new Int32Array(words);
        readPlainWords(cursor, words, this.#dictionaryWords, 0);
        return true;
      }
    }
  }

  /** Reads a data page; returns false if it is not supported. */
  readPage({ count, encoding, body }: DataPage): boolean {
    const cursor = cursorOf(body);
    const from = this.#level;
    this.#level += count;
    if (this.#repetition !== undefined) readLevels(cursor, 1, count, this.#repetition, from);
    let present = count;
    if (this.#maxDefinition > 0) present = this.#readDefinition(cursor, count, from);
    const at = this.#value;
    this.#value += present;
    return this.#readValues(cursor, encoding, present, at);
  }

  /**
   * Reads definition levels and returns the number of non-null values. Levels are stored only from
   * the first page that has a null: most columns have none.
   */
  #readDefinition(cursor: Cursor, count: number, from: number): number {
    const width = bitsOf(this.#maxDefinition);
    const max = this.#maxDefinition;
    if (this.#definition === undefined) {
      if (skipIfAll(cursor, count, max)) return count;
      this.#definition = this.#arena.uint8(this.#count).fill(max, 0, from);
    }
    readLevels(cursor, width, count, this.#definition, from);
    return countOf(this.#definition, from, from + count, max);
  }

  #readValues(cursor: Cursor, encoding: number, count: number, at: number): boolean {
    if (encoding === encodings.dictionary || encoding === encodings.plainDictionary) {
      return this.#readCodes(cursor, count, at);
    }
    if (encoding === encodings.delta) {
      return this.#readDeltas(cursor, count, at);
    }
    if (encoding !== encodings.plain) return false;
    switch (this.#leaf) {
      case "dict":
        this.#entries.addEach(cursor, count, this.#codes as Int32Array, at);
        return true;
      case "bool":
        readPlainBits(cursor, count, this.#bytes, at);
        return true;
      case "int32":
        if (!this.#makeWords()) return false;
        readPlainWords(cursor, count, this.#words, at);
        return true;
      default:
        if (!this.#makeWords()) return false;
        readPlainWords(cursor, count * 2, this.#words, at * 2);
        return true;
    }
  }

  #readDeltas(cursor: Cursor, count: number, at: number): boolean {
    if ((this.#leaf !== "int64" && this.#leaf !== "int32") || !this.#makeWords()) return false;
    if (this.#leaf === "int64") {
      readDelta(cursor, count, this.#words, at);
      return true;
    }
    // A 32-bit sum is the low word of the 64-bit sum.
    const pairs = this.#arena.int32(count * 2);
    readDelta(cursor, count, pairs, 0);
    for (let i = 0; i < count; i++) this.#words[at + i] = pairs[i * 2];
    return true;
  }

  #readCodes(cursor: Cursor, count: number, at: number): boolean {
    if (count === 0) return true;
    if (cursor.pos >= cursor.end) throw new SpoorError("Corrupt", "Parquet page has no code width");
    const width = cursor.bytes[cursor.pos++];
    if (this.#leaf !== "dict") {
      // Columns of numbers with both codes and plain values are left to the library.
      if (this.#dictionaryWords === undefined || this.#words.length > 0) return false;
      if (this.#codes.length === 0) {
        const isSmall = this.#dictionaryLength <= 256 && width <= 8;
        this.#codes = isSmall ? this.#arena.uint8(this.#count) : this.#arena.int32(this.#count);
      }
      if (width > 8 && this.#codes instanceof Uint8Array) return false;
    }
    readHybrid(cursor, width, count, this.#codes, at);
    // If every code of this width is in the dictionary, there is nothing to check.
    const isAnyEntry = 1 << width <= this.#dictionaryLength;
    if (!isAnyEntry) checkCodes(this.#codes, at, at + count, this.#dictionaryLength);
    return true;
  }

  /** Allocates the array of plain values; returns false if the column has codes. */
  #makeWords(): boolean {
    if (this.#codes.length > 0) return false;
    if (this.#words.length === 0) {
      this.#words = this.#arena.int32(this.#count * (this.#leaf === "int32" ? 1 : 2));
    }
    return true;
  }

  /** Returns the column, with nulls. */
  flat(): Column {
    const max = this.#maxDefinition;
    const definition = this.#value === this.#count ? undefined : this.#definition;
    if (definition === undefined) return this.#dense(this.#value);
    const valid = bitmapOf(definition, max);
    if (this.#leaf === "dict") {
      const codes = spreadCodes(this.#codes, definition, max, this.#arena.int32(this.#count), -1);
      return this.#dictOf(codes as Int32Array);
    }
    if (this.#leaf === "bool") {
      const values = spreadCodes(this.#bytes, definition, max, new Uint8Array(this.#count), 0);
      return { kind: "bool", values: values as Uint8Array, valid };
    }
    if (this.#dictionaryWords !== undefined) {
      const out = new (this.#codes.constructor as typeof Int32Array)(this.#count);
      const codes = spreadCodes(this.#codes, definition, max, out, 0);
      return codedNumbers(this.#leaf, this.#dictionaryWords, codes, valid);
    }
    return numbersOf(this.#leaf, spreadWords(this.#words, definition, max), valid);
  }

  #dictOf(codes: Int32Array): DictColumn {
    const type = columnType(this.#chunk.name)?.includes("binary") === true ? "binary" : "string";
    return { kind: "dict", type, codes, dictionary: this.#entries.values() };
  }

  /** Returns the first `count` non-null values as a column without nulls. */
  #dense(count: number): Exclude<Column, ListColumn> {
    if (this.#leaf === "dict") return this.#dictOf(this.#codes.subarray(0, count) as Int32Array);
    if (this.#leaf === "bool") {
      return { kind: "bool", values: this.#bytes.subarray(0, count), valid: undefined };
    }
    if (this.#dictionaryWords !== undefined && this.#words.length === 0) {
      const codes = this.#codes.subarray(0, count);
      return codedNumbers(this.#leaf, this.#dictionaryWords, codes, undefined);
    }
    const words = this.#leaf === "int32" ? count : count * 2;
    return numbersOf(this.#leaf, this.#words.subarray(0, words), undefined);
  }

  /** Returns the list column; undefined if an item is null, which Spoor never writes. */
  list(rows: number): ListColumn | undefined {
    const { isItemOptional } = this.#chunk.levels!;
    const max = this.#maxDefinition;
    const definition = this.#definition ?? this.#arena.uint8(this.#count).fill(max);
    const repetition = this.#repetition!;
    const offsets = this.#arena.int32(rows + 1);
    let row = -1;
    let items = 0;
    for (let i = 0; i < definition.length; i++) {
      if (repetition[i] === 0) {
        if (++row >= rows) break;
        offsets[row] = items;
      }
      if (definition[i] === max) items++;
      else if (isItemOptional && definition[i] === max - 1) return undefined;
    }
    if (row + 1 !== rows) {
      const message = `column ${this.#chunk.name} has ${row + 1} lists, not ${rows}`;
      throw new SpoorError("Corrupt", message);
    }
    offsets[rows] = items;
    return { kind: "list", offsets, child: this.#dense(items) as ListColumn["child"] };
  }
}

const noWords = new Int32Array(0);

/** Keeps 64-bit integers as codes: most filters need only the few distinct values. */
function codedNumbers(
  leaf: Leaf,
  entries: Int32Array,
  codes: Uint8Array | Int32Array,
  valid: Uint8Array | undefined,
): Exclude<Column, ListColumn | DictColumn> {
  if (leaf === "int64") {
    return new CodedInt64({ codes, entries: new BigInt64Array(entries.buffer) }, valid);
  }
  const words = new Int32Array(codes.length * (leaf === "int32" ? 1 : 2));
  if (leaf === "int32") for (let i = 0; i < codes.length; i++) words[i] = entries[codes[i]];
  else lookUpPairs(entries, codes, words);
  return numbersOf(leaf, words, valid);
}

function numbersOf(
  leaf: Leaf,
  words: Int32Array,
  valid: Uint8Array | undefined,
): Exclude<Column, ListColumn | DictColumn> {
  const { buffer, byteOffset, length } = words;
  if (leaf === "int32") return { kind: "int32", values: words, valid };
  if (leaf === "double") {
    return { kind: "double", values: new Float64Array(buffer, byteOffset, length / 2), valid };
  }
  return { kind: "int64", values: new BigInt64Array(buffer, byteOffset, length / 2), valid };
}
