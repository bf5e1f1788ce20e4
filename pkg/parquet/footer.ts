/**
 * Accessors for the parts of a Parquet footer that Spoor reads or changes, on the generic thrift
 * tree. Field ids:
 * https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  decodeThrift,
  type ThriftStruct,
  type ThriftValue,
  typeBinary,
  typeI64,
  typeList,
  typeStruct,
} from "./thrift.ts";

export const parquetMagic = "PAR1";
/** Footer length and magic at the end of every Parquet file. */
export const parquetTailBytes = 8;

/** One column of one row group. Offsets are absolute in the file. */
export interface ColumnChunk {
  /** The top-level column's name. */
  name: string;
  start: number;
  /** Where the data pages start, after the dictionary page if there is one. */
  dataStart: number;
  sizeBytes: number;
  uncompressedBytes: number;
  valueCount: number;
  /** Undefined if the writer did not record it. */
  nullCount: number | undefined;
  offsetIndexOffset: number;
  offsetIndexBytes: number;
  encodings: number[];
  codec: number;
  /** Parquet's number of the physical type. */
  physicalType: number;
  /** Undefined for columns nested deeper than a list. */
  levels: ChunkLevels | undefined;
}

export interface ChunkLevels {
  maxDefinition: number;
  /** 1 for a list, 0 for a flat column. */
  maxRepetition: number;
  /** Whether the items of a list may be null. */
  isItemOptional: boolean;
}

export interface RowGroupInfo {
  rows: number;
  columns: ColumnChunk[];
}

/** Reads the footer of a whole Parquet file in memory; also returns its offset. Throws Corrupt. */
export function readFooter(file: Uint8Array): { footer: ThriftStruct; footerStart: number } {
  const size = file.length;
  const tail = Buffer.from(file.buffer, file.byteOffset, size);
  if (size < 12 || tail.toString("latin1", size - 4) !== parquetMagic) {
    throw new SpoorError("Corrupt", `not a Parquet file: ${size} bytes without ${parquetMagic}`);
  }
  const footerStart = size - parquetTailBytes - tail.readUInt32LE(size - parquetTailBytes);
  if (footerStart < 4) throw new SpoorError("Corrupt", "Parquet footer is longer than its file");
  const { value } = decodeThrift(file.subarray(0, size - parquetTailBytes), footerStart);
  return { footer: value, footerStart };
}

/** Reads the row groups of a footer. Throws Corrupt if a field is missing or has a wrong type. */
export function footerRowGroups(footer: ThriftStruct): RowGroupInfo[] {
  const leaves = schemaLeaves(structList(footer, 2));
  return structList(footer, 4).map((rowGroup) => ({
    rows: intField(rowGroup, 3),
    columns: structList(rowGroup, 1).map((chunk, i) => readChunk(chunk, leaves[i])),
  }));
}

const optional = 1;
const repeated = 2;
/** Nesting depth of schema groups at most. */
const schemaDepthMax = 32;

/** Returns the levels of the schema's leaves; undefined for deeper nesting. Throws Corrupt. */
function schemaLeaves(elements: readonly ThriftStruct[]): (ChunkLevels | undefined)[] {
  const leaves: (ChunkLevels | undefined)[] = [];
  let next = 1;
  const walk = (parent: ChunkLevels, depth: number): void => {
    const element = elements[next++] as ThriftStruct | undefined;
    if (element === undefined || depth > schemaDepthMax) {
      throw new SpoorError("Corrupt", "Parquet schema has fewer elements than it declares");
    }
    const repetition = element.has(3) ? intField(element, 3) : 0;
    const own: ChunkLevels = {
      maxDefinition: parent.maxDefinition + (repetition === 0 ? 0 : 1),
      maxRepetition: parent.maxRepetition + (repetition === repeated ? 1 : 0),
      isItemOptional: parent.maxRepetition > 0 && repetition === optional,
    };
    const children = element.has(5) ? intField(element, 5) : 0;
    if (children === 0) {
      const isKnown = depth === 1 || (depth === 3 && own.maxRepetition === 1);
      leaves.push(isKnown ? own : undefined);
    }
    for (let i = 0; i < children; i++) walk(own, depth + 1);
  };
  const none = { maxDefinition: 0, maxRepetition: 0, isItemOptional: false };
  while (next < elements.length) walk(none, 1);
  return leaves;
}

function readChunk(chunk: ThriftStruct, levels: ChunkLevels | undefined): ColumnChunk {
  const meta = structField(chunk, 3);
  const path = meta.get(3);
  if (path?.type !== typeList) throw missing(3);
  const first = (path as Extract<ThriftValue, { value: { items: ThriftValue[] } }>).value.items[0];
  if (!(first?.value instanceof Uint8Array)) throw missing(3);
  const dataPage = intField(meta, 9);
  const dictionaryPage = meta.has(11) ? intField(meta, 11) : dataPage;
  const encodings = meta.get(2)?.value as { items?: ThriftValue[] } | undefined;
  return {
    name: Buffer.from(first.value).toString("utf8"),
    start: Math.min(dataPage, dictionaryPage),
    dataStart: Math.max(dataPage, dictionaryPage),
    sizeBytes: intField(meta, 7),
    uncompressedBytes: intField(meta, 6),
    valueCount: intField(meta, 5),
    nullCount: nullCountOf(meta),
    offsetIndexOffset: intField(chunk, 4),
    offsetIndexBytes: intField(chunk, 5),
    encodings: (encodings?.items ?? []).map((item) => Number(item.value)),
    codec: intField(meta, 4),
    physicalType: intField(meta, 1),
    levels,
  };
}

/** Reads the null count from the chunk's statistics. */
function nullCountOf(meta: ThriftStruct): number | undefined {
  const statistics = meta.get(12)?.value;
  return statistics instanceof Map && statistics.has(3) ? intField(statistics, 3) : undefined;
}

/** Returns a struct field. Throws Corrupt if it is missing. */
export function structField(struct: ThriftStruct, id: number): ThriftStruct {
  const field = struct.get(id);
  if (field?.value instanceof Map) return field.value;
  throw missing(id);
}

/** Returns a list-of-structs field. Throws Corrupt if it is missing. */
export function structList(struct: ThriftStruct, id: number): ThriftStruct[] {
  const field = struct.get(id);
  if (field?.type !== typeList) throw missing(id);
  const { items } = field.value as { items: ThriftValue[] };
  return items.map((item) => {
    if (item.value instanceof Map) return item.value;
    throw missing(id);
  });
}

/** Returns an integer field as a number. Throws Corrupt if it is missing or above 2^53. */
export function intField(struct: ThriftStruct, id: number): number {
  const field = struct.get(id);
  if (typeof field?.value !== "bigint") throw missing(id);
  const value = Number(field.value);
  if (!Number.isSafeInteger(value)) throw missing(id);
  return value;
}

/** Adds `shift` to an integer field if it is present. */
export function shiftField(struct: ThriftStruct, id: number, shift: number): void {
  const field = struct.get(id);
  if (typeof field?.value === "bigint") field.value += BigInt(shift);
}

export function setInt64(struct: ThriftStruct, id: number, value: number): void {
  struct.set(id, { type: typeI64, value: BigInt(value) });
}

export function setText(struct: ThriftStruct, id: number, text: string): void {
  struct.set(id, { type: typeBinary, value: Buffer.from(text, "utf8") });
}

export function setStructList(struct: ThriftStruct, id: number, items: ThriftStruct[]): void {
  const values = items.map((value): ThriftValue => ({ type: typeStruct, value }));
  struct.set(id, { type: typeList, value: { elementType: typeStruct, items: values } });
}

function missing(id: number): SpoorError {
  return new SpoorError("Corrupt", `Parquet footer lacks field ${id} or it has another type`);
}
