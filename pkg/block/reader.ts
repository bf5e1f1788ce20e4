/**
 * Opens a block: one ranged read gets its index section and footer; column chunks follow on demand.
 * Every byte is checked against its CRC-32 before anything parses it.
 */
import { batchOf, type Column, type ColumnBatch } from "#pkg/columns/columns.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { ReadOptions } from "#pkg/objstore/objstore.ts";
import { decodeArrow } from "./arrow-read.ts";
import { type BlockPlace, BlockSource, type ByteRange } from "./block-source.ts";
import { footerRowGroups, parquetMagic, parquetTailBytes, type RowGroupInfo } from "./footer.ts";
import {
  checkPart,
  decodeDirectory,
  decodeSegments,
  decodeTags,
  decodeTrailer,
  type Directory,
  partOf,
  type Place,
  trailerBytes,
} from "./index-section.ts";
import { ParquetReader } from "./parquet.ts";
import type { Segment } from "./stitch.ts";
import type { TagIndex } from "./tag-index.ts";
import { decodeThrift } from "./thrift.ts";

export type { BlockPlace } from "./block-source.ts";

/** Index section and footer larger than this are refused. */
const tailBytesMax = 256 * 1024 * 1024;

/** What opening a block has found. */
export interface BlockContent {
  directory: Directory;
  rowGroups: readonly RowGroupInfo[];
  footerBytes: number;
  source: BlockSource;
}

export class BlockReader {
  readonly key: string;
  readonly directory: Directory;
  readonly rowGroups: readonly RowGroupInfo[];
  readonly columnNames: readonly string[];
  /** Bytes of index section and footer that opening has read. */
  readonly tailBytes: number;
  /** Bytes of the index section, with its trailer. */
  readonly indexBytes: number;
  readonly #source: BlockSource;
  #parquet: Promise<ParquetReader> | undefined;

  /** Made by `openBlock`. */
  constructor(key: string, content: BlockContent) {
    const { directory, rowGroups, source } = content;
    this.key = key;
    this.directory = directory;
    this.rowGroups = rowGroups;
    this.columnNames = [...new Set(rowGroups[0].columns.map(({ name }) => name))];
    this.tailBytes = source.sizeBytes - source.bodyBytes;
    this.indexBytes = this.tailBytes - content.footerBytes - parquetTailBytes;
    this.#source = source;
  }

  /** Bytes of the store that were read for columns so far. */
  get readBytes(): number {
    return this.#source.readBytes;
  }

  /**
   * The named columns of one row group; names that the block lacks are left out. Throws Corrupt
   * naming the block, or what the store throws. If a block is corrupt although its checksums are
   * right, the Parquet reader may panic past every caller (see parquet.ts).
   */
  async readRowGroup(
    rowGroup: number,
    names?: readonly string[],
    options?: ReadOptions,
  ): Promise<ColumnBatch> {
    const { rows, columns: chunks } = this.rowGroups[rowGroup];
    const wanted = chunks.filter(({ name }) => names === undefined || names.includes(name));
    const columns = [...new Set(wanted.map(({ name }) => name))];
    if (columns.length === 0) return batchOf(rows, new Map<string, Column>());
    try {
      const parquet = await this.#openParquet(options);
      const ranges = wanted.map(({ start, sizeBytes }) => ({ start, end: start + sizeBytes }));
      const release = await this.#source.hold(ranges, options);
      try {
        return batchOf(rows, decodeArrow(await parquet.read({ rowGroup, columns, rows }), rows));
      } finally {
        release();
      }
    } catch (error) {
      throw blockError(error, this.key);
    }
  }

  async #openParquet(options: ReadOptions | undefined): Promise<ParquetReader> {
    if (this.#parquet === undefined) {
      const opening = this.#openOffsetIndexes(options);
      this.#parquet = opening;
      // A store that could not answer may answer the next time.
      opening.catch(() => {
        if (this.#parquet === opening) this.#parquet = undefined;
      });
    }
    return await this.#parquet;
  }

  /** The Parquet reader reads the offset indexes of all chunks when it opens. */
  async #openOffsetIndexes(options: ReadOptions | undefined): Promise<ParquetReader> {
    const ranges = this.rowGroups.flatMap(({ columns }) =>
      columns.map(({ offsetIndexOffset: start, offsetIndexBytes }): ByteRange => ({
        start,
        end: start + offsetIndexBytes,
      })),
    );
    const release = await this.#source.hold(ranges, options);
    try {
      return await ParquetReader.open(this.#source);
    } finally {
      release();
    }
  }

  /** The tag index of one row group, or of the whole block. Throws Corrupt. */
  tags(rowGroup?: number): TagIndex {
    const { directory } = this;
    const place = rowGroup === undefined ? directory.tags : directory.rowGroups[rowGroup].tags;
    const what = rowGroup === undefined ? "tag index" : `tag index of row group ${rowGroup}`;
    try {
      return decodeTags(this.#source.part(place, what));
    } catch (error) {
      throw blockError(error, this.key);
    }
  }

  /** One shard of the trace bloom. Throws Corrupt. */
  bloomShard(shard: number): Uint8Array {
    try {
      return this.#source.part(this.directory.bloom.places[shard], `bloom shard ${shard}`);
    } catch (error) {
      throw blockError(error, this.key);
    }
  }

  /** The segments that the checksums cover, from the start of the file. */
  get segments(): readonly Segment[] {
    return this.#source.segments;
  }

  /** Frees memory of the Parquet reader. Call it when no read is under way. */
  close(): void {
    this.#parquet?.then(
      (parquet) => parquet.close(),
      () => "it never opened, which its reads have reported",
    );
    this.#parquet = undefined;
  }
}

/** Opens a block. Throws Corrupt naming the block, NotFound, or what the store throws. */
export async function openBlock(place: BlockPlace, options?: ReadOptions): Promise<BlockReader> {
  try {
    return await open(place, options);
  } catch (error) {
    throw blockError(error, place.key);
  }
}

/** Puts the block's name into an error about its content. */
export function blockError(error: unknown, key: string): unknown {
  if (!(error instanceof SpoorError) || error.message.startsWith("block ")) return error;
  if (error.code !== "Corrupt" && error.code !== "InvalidInput") return error;
  const { code, message, reason } = error;
  return new SpoorError(code, `block ${key}: ${message}`, { cause: error, reason });
}

async function open(place: BlockPlace, options: ReadOptions | undefined): Promise<BlockReader> {
  const { store, key, sizeBytes } = place;
  const indexOffset = place.indexOffset ?? (await findIndex(place, options));
  const tailBytes = sizeBytes - indexOffset;
  if (tailBytes > tailBytesMax || tailBytes < trailerBytes + parquetTailBytes || indexOffset < 4) {
    throw new SpoorError("Corrupt", `index section at byte ${indexOffset} of ${sizeBytes}`);
  }
  const tail = await store.getRange(key, indexOffset, sizeBytes, options);
  const { trailer, footer } = readTail(tail);
  if (trailer.sectionOffset !== indexOffset) {
    throw new SpoorError(
      "Corrupt",
      `index section at ${indexOffset}, not ${trailer.sectionOffset}`,
    );
  }
  const { offset, sizeBytes: directoryBytes } = trailer.directory;
  const trailerOffset = sizeBytes - parquetTailBytes - footer.length - trailerBytes;
  if (offset + directoryBytes !== trailerOffset) {
    throw new SpoorError(
      "Corrupt",
      `index directory is not before the trailer at ${trailerOffset}`,
    );
  }
  const at = (part: Place, what: string): Uint8Array => partOf(tail, indexOffset, part, what);
  const directory = decodeDirectory(at(trailer.directory, "index directory"));
  const segments = decodeSegments(at(directory.segments, "segment list"));
  const source = new BlockSource(place, segments, tail, indexOffset);
  const rowGroups = footerRowGroups(decodeThrift(footer).value);
  checkAgreement(directory, rowGroups);
  return new BlockReader(key, { directory, rowGroups, footerBytes: footer.length, source });
}

/** The start of the index section, from the end of the file. */
async function findIndex(
  { store, key, sizeBytes }: BlockPlace,
  options: ReadOptions | undefined,
): Promise<number> {
  if (sizeBytes < trailerBytes + parquetTailBytes + 4) {
    throw new SpoorError("Corrupt", `file of ${sizeBytes} bytes is too short for a block`);
  }
  const end = await store.getRange(key, sizeBytes - parquetTailBytes, sizeBytes, options);
  const footerOffset = sizeBytes - parquetTailBytes - footerLength(end);
  if (footerOffset < trailerBytes) throw new SpoorError("Corrupt", "footer longer than its file");
  const trailer = await store.getRange(key, footerOffset - trailerBytes, footerOffset, options);
  return decodeTrailer(trailer).sectionOffset;
}

function footerLength(end: Uint8Array): number {
  const view = Buffer.from(end.buffer, end.byteOffset, end.length);
  if (view.toString("latin1", 4) !== parquetMagic) {
    throw new SpoorError("Corrupt", `file does not end with ${parquetMagic}`);
  }
  return view.readUInt32LE(0);
}

function readTail(tail: Uint8Array): {
  trailer: ReturnType<typeof decodeTrailer>;
  footer: Uint8Array;
} {
  const footerEnd = tail.length - parquetTailBytes;
  const footerStart = footerEnd - footerLength(tail.subarray(footerEnd));
  if (footerStart < trailerBytes) {
    throw new SpoorError("Corrupt", "Parquet footer overlaps the index section");
  }
  const trailer = decodeTrailer(tail.subarray(footerStart - trailerBytes, footerStart));
  const footer = tail.subarray(footerStart, footerEnd);
  const { footerBytes: sizeBytes, footerCrc: crc } = trailer;
  checkPart(footer, { offset: 0, sizeBytes, crc }, "the Parquet footer");
  return { trailer, footer };
}

function checkAgreement(directory: Directory, groups: readonly RowGroupInfo[]): void {
  const same =
    groups.length === directory.rowGroups.length &&
    groups.every(({ rows }, i) => rows === directory.rowGroups[i].rows);
  if (!same) throw new SpoorError("Corrupt", "index and footer disagree about the row groups");
}
