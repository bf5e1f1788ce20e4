/**
 * Opens a block: one ranged read gets its directory and footer; parts of the index section and
 * column chunks follow on demand. Every byte is checked against its CRC-32 before anything parses
 * it.
 */
import { batchOf, type Column, type ColumnBatch } from "#pkg/columns/columns.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { ReadOptions } from "#pkg/objstore/objstore.ts";
import { decodeArrow } from "./arrow-read.ts";
import { BlockIndex, blockError, footerLength, openBlockIndex } from "./block-index.ts";
import { type BlockPlace, BlockSource, type ByteRange } from "./block-source.ts";
import {
  type ColumnChunk,
  footerRowGroups,
  parquetTailBytes,
  type RowGroupInfo,
} from "./footer.ts";
import { decodeSegments, type Directory } from "./index-section.ts";
import { decodePages, rangesOfRows, type RowRange } from "./pages.ts";
import { ParquetReader } from "./parquet.ts";
import { checkPart } from "./place.ts";
import type { Segment } from "./stitch.ts";
import type { TagIndex } from "./tag-index.ts";
import { decodeThrift } from "./thrift.ts";

export type { BlockPlace } from "./block-source.ts";

/** What opening a block has found. */
interface BlockContent {
  rowGroups: readonly RowGroupInfo[];
  footerBytes: number;
  source: BlockSource;
}

export class BlockReader {
  readonly key: string;
  readonly index: BlockIndex;
  readonly directory: Directory;
  readonly rowGroups: readonly RowGroupInfo[];
  readonly columnNames: readonly string[];
  /** Bytes of index section and footer. */
  readonly tailBytes: number;
  /** Bytes of the index section, with its trailer. */
  readonly indexBytes: number;
  readonly #source: BlockSource;
  readonly #pages = new Map<ColumnChunk, ReturnType<typeof decodePages>>();
  #parquet: Promise<ParquetReader> | undefined;

  /** Made by `openBlock`. */
  constructor(index: BlockIndex, content: BlockContent) {
    const { rowGroups, source } = content;
    this.key = index.key;
    this.index = index;
    this.directory = index.directory;
    this.rowGroups = rowGroups;
    this.columnNames = [...new Set(rowGroups[0].columns.map(({ name }) => name))];
    this.tailBytes = source.sizeBytes - source.bodyBytes;
    this.indexBytes = this.tailBytes - content.footerBytes - parquetTailBytes;
    this.#source = source;
  }

  /** Memory that it holds while no read is under way, without that of the Parquet reader. */
  get heldBytes(): number {
    return this.index.heldBytes + (this.tailBytes - this.indexBytes);
  }

  /** Bytes of the store that were read for columns so far. */
  get readBytes(): number {
    return this.#source.readBytes;
  }

  /**
   * The named columns of one row group, or of some of its rows; names that the block lacks are left
   * out. Throws Corrupt naming the block, or what the store throws. If a block is corrupt although its checksums are
   * right, the Parquet reader may panic past every caller (see parquet.ts).
   */
  async readRowGroup(
    rowGroup: number,
    names?: readonly string[],
    options: ReadOptions & { rows?: RowRange } = {},
  ): Promise<ColumnBatch> {
    const { rows: allRows, columns: chunks } = this.rowGroups[rowGroup];
    const { rows: range } = options;
    const rows = range === undefined ? allRows : range.to - range.from;
    const wanted = chunks.filter(({ name }) => names === undefined || names.includes(name));
    const columns = [...new Set(wanted.map(({ name }) => name))];
    if (columns.length === 0) return batchOf(rows, new Map<string, Column>());
    try {
      const parquet = await this.#openParquet(options);
      const ranges = wanted.flatMap((chunk) => this.#rangesOf(chunk, range));
      const release = await this.#source.hold(ranges, options);
      try {
        const ipc = await parquet.read({ rowGroup, columns, rows, range });
        return batchOf(rows, decodeArrow(ipc, rows));
      } finally {
        release();
      }
    } catch (error) {
      throw blockError(error, this.key);
    }
  }

  /** Whole, or the pages that hold the rows. The offset indexes must have been read. */
  #rangesOf(chunk: ColumnChunk, range: RowRange | undefined): ByteRange[] {
    if (range === undefined) return [{ start: chunk.start, end: chunk.start + chunk.sizeBytes }];
    let pages = this.#pages.get(chunk);
    if (pages === undefined) {
      const { offsetIndexOffset: start, offsetIndexBytes } = chunk;
      pages = decodePages(chunk, this.#source.read(start, start + offsetIndexBytes));
      this.#pages.set(chunk, pages);
    }
    return rangesOfRows(chunk, pages, range);
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
    // They stay: which pages hold which rows is looked up in them.
    const release = await this.#source.hold(ranges, options);
    try {
      return await ParquetReader.open(this.#source);
    } catch (error) {
      release();
      throw error;
    }
  }

  /** The tag index of one row group, or of the whole block; see `BlockIndex.tags`. */
  async tags(rowGroup?: number, keys?: readonly string[]): Promise<TagIndex> {
    return await this.index.tags(rowGroup, keys);
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

/**
 * Opens a block, or what else an index that is open already belongs to. Throws Corrupt naming the
 * block, NotFound, or what the store throws.
 */
export async function openBlock(
  place: BlockPlace & { index?: BlockIndex },
  options?: ReadOptions,
): Promise<BlockReader> {
  try {
    const index = place.index ?? (await openBlockIndex(place, { ...options, withFooter: true }));
    return await open(place, index, options);
  } catch (error) {
    throw blockError(error, place.key);
  }
}

async function open(
  place: BlockPlace,
  index: BlockIndex,
  options: ReadOptions | undefined,
): Promise<BlockReader> {
  const { directory, trailer } = index;
  const tail = await index.footer(options);
  const footer = tail.subarray(0, -parquetTailBytes);
  const { footerBytes: sizeBytes, footerCrc: crc } = trailer;
  if (footerLength(tail.subarray(footer.length)) !== footer.length) {
    throw new SpoorError("Corrupt", `Parquet footer is not ${footer.length} bytes long`);
  }
  checkPart(footer, { offset: 0, sizeBytes, crc }, "the Parquet footer");
  const segments = decodeSegments(await index.part(directory.segments, "segment list", options));
  const source = new BlockSource(place, segments, tail, trailer.sectionOffset);
  const rowGroups = footerRowGroups(decodeThrift(footer).value);
  checkAgreement(directory, rowGroups);
  return new BlockReader(index, { rowGroups, footerBytes: footer.length, source });
}

function checkAgreement(directory: Directory, groups: readonly RowGroupInfo[]): void {
  const same =
    groups.length === directory.rowGroups.length &&
    groups.every(({ rows }, i) => rows === directory.rowGroups[i].rows);
  if (!same) throw new SpoorError("Corrupt", "index and footer disagree about the row groups");
}
