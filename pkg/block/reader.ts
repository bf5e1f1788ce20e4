/**
 * Reads blocks. One ranged read gets the directory and the footer. Other parts of the index section
 * and column chunks are read on demand. Every byte is checked against its CRC-32 before it is
 * parsed.
 */
import type { Arena } from "#pkg/bytes/bytes.ts";
import { batchOf, type Column, type ColumnBatch } from "#pkg/columns/columns.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { ReadOptions } from "#pkg/objstore/objstore.ts";
import { BlockIndex, blockError, footerLength, openBlockIndex } from "./block-index.ts";
import { type BlockAddress, BlockSource, type HoldOptions } from "./block-source.ts";
import {
  type ByteRange,
  type ColumnChunk,
  decodeChunk,
  decodePages,
  decodeThrift,
  footerRowGroups,
  type Page,
  pagesOfRows,
  parquetTailBytes,
  rangesOfRows,
  type RowGroupInfo,
  type RowRange,
  type Segment,
  sliceColumn,
} from "#pkg/parquet/parquet.ts";
import { decodeSegments, type Directory } from "#pkg/block/index/index-section.ts";
import type { ParquetReader } from "#pkg/parquet/parquet-wasm.ts";
import { ParquetLibrary } from "#pkg/parquet/parquet-library.ts";
import { checkPart } from "./place.ts";
import type { TagIndex } from "#pkg/block/index/tag-index.ts";

/** The results of opening a block. */
interface BlockContent {
  rowGroups: readonly RowGroupInfo[];
  footerBytes: number;
  source: BlockSource;
  library: ParquetLibrary;
}

/** An open block. Call `close` when done. */
export class BlockReader {
  readonly key: string;
  readonly index: BlockIndex;
  readonly directory: Directory;
  readonly rowGroups: readonly RowGroupInfo[];
  readonly columnNames: readonly string[];
  /** Bytes of index section and footer. */
  readonly tailBytes: number;
  /** Bytes of the index section, including its trailer. */
  readonly indexBytes: number;
  readonly #source: BlockSource;
  readonly #library: ParquetLibrary;
  readonly #pages = new Map<ColumnChunk, readonly Page[]>();
  #parquet: Promise<ParquetReader> | undefined;

  /** Use `openBlock`. */
  constructor(index: BlockIndex, content: BlockContent) {
    const { rowGroups, source, library } = content;
    this.key = index.key;
    this.index = index;
    this.directory = index.directory;
    this.rowGroups = rowGroups;
    this.columnNames = [...new Set(rowGroups[0].columns.map(({ name }) => name))];
    this.tailBytes = source.sizeBytes - source.bodyBytes;
    this.indexBytes = this.tailBytes - content.footerBytes - parquetTailBytes;
    this.#source = source;
    this.#library = library;
  }

  /** Memory held between reads, bytes, without the Parquet reader's memory. */
  get heldBytes(): number {
    return this.index.heldBytes + (this.tailBytes - this.indexBytes);
  }

  /** Bytes read from the store for columns so far. */
  get readBytes(): number {
    return this.#source.readBytes;
  }

  /**
   * Reads the named columns of one row group, or of some of its rows. Ignores names that the block
   * does not have. Throws Corrupt naming the block, or what the store throws. If a block is corrupt
   * but its checksums match, the Parquet library may panic, which no caller can catch (see
   * parquet.ts). With an arena, the columns are valid until its next `reset`.
   */
  async readRowGroup(
    rowGroup: number,
    names?: readonly string[],
    options: ReadOptions & { rows?: RowRange; arena?: Arena } = {},
  ): Promise<ColumnBatch> {
    const { rows: allRows, columns: chunks } = this.rowGroups[rowGroup];
    const { rows: range } = options;
    const rows = range === undefined ? allRows : range.to - range.from;
    const wanted = chunks.filter(({ name }) => names === undefined || names.includes(name));
    const columns = [...new Set(wanted.map(({ name }) => name))];
    if (columns.length === 0) return batchOf(rows, new Map<string, Column>());
    try {
      const release = await this.#holdChunks(wanted, range, options);
      try {
        return await this.#decode(rowGroup, { wanted, names: columns, range, rows }, options);
      } finally {
        release();
      }
    } catch (error) {
      throw blockError(error, this.key);
    }
  }

  /** Decodes the columns of held chunks; the library decodes those that `decodeChunk` does not. */
  async #decode(
    rowGroup: number,
    asked: { wanted: ColumnChunk[]; names: string[]; range: RowRange | undefined; rows: number },
    options: ReadOptions & { arena?: Arena },
  ): Promise<ColumnBatch> {
    const { wanted, names, range, rows } = asked;
    const allRows = this.rowGroups[rowGroup].rows;
    const columns = new Map<string, Column>();
    for (const chunk of wanted) {
      const column = this.#decodeChunk(chunk, range, { rows: allRows, arena: options.arena });
      if (column !== undefined) columns.set(chunk.name, column);
    }
    const left = names.filter((name) => !columns.has(name));
    if (left.length === 0) return batchOf(rows, columns);
    const { decodeArrow } = await this.#library.load();
    const parquet = await this.#openParquet(options);
    const ipc = await parquet.read({ rowGroup, columns: left, rows, range });
    for (const [name, column] of decodeArrow(ipc, rows)) columns.set(name, column);
    return batchOf(rows, columns);
  }

  #decodeChunk(
    chunk: ColumnChunk,
    range: RowRange | undefined,
    { rows, arena }: { rows: number; arena: Arena | undefined },
  ): Column | undefined {
    const { start, dataStart, sizeBytes } = chunk;
    const read = ({ start: from, end }: ByteRange): Uint8Array => this.#source.read(from, end);
    const dictionary = dataStart > start ? read({ start, end: dataStart }) : undefined;
    if (range === undefined) {
      const pages = read({ start: dataStart, end: start + sizeBytes });
      return decodeChunk(chunk, dictionary, [pages], rows, arena);
    }
    const pages = this.#pagesOf(chunk);
    const some = pagesOfRows(pages, range);
    const firstRow = some[0].firstRow;
    const endRow = pages[pages.indexOf(some.at(-1)!) + 1]?.firstRow ?? rows;
    const column = decodeChunk(chunk, dictionary, some.map(read), endRow - firstRow, arena);
    return column && sliceColumn(column, range.from - firstRow, range.to - firstRow);
  }

  /** Fetches the bytes needed for these rows of some chunks. */
  async #holdChunks(
    chunks: readonly ColumnChunk[],
    range: RowRange | undefined,
    options: HoldOptions,
  ): Promise<() => void> {
    if (range === undefined) {
      const whole = chunks.map(({ start, sizeBytes }) => ({ start, end: start + sizeBytes }));
      return await this.#source.hold(whole, options);
    }
    const unknown = chunks.filter((chunk) => !this.#pages.has(chunk));
    if (unknown.length > 0) {
      const release = await this.#source.hold(unknown.map(offsetIndexOf), options);
      try {
        for (const chunk of unknown) {
          const { start, end } = offsetIndexOf(chunk);
          this.#pages.set(chunk, decodePages(chunk, this.#source.read(start, end)));
        }
      } finally {
        release();
      }
    }
    const ranges = chunks.flatMap((chunk) => rangesOfRows(chunk, this.#pagesOf(chunk), range));
    return await this.#source.hold(ranges, options);
  }

  #pagesOf(chunk: ColumnChunk): readonly Page[] {
    const pages = this.#pages.get(chunk);
    if (pages === undefined || pages.length === 0) {
      throw new SpoorError("Corrupt", `column ${chunk.name} has no pages`);
    }
    return pages;
  }

  async #openParquet(options: ReadOptions | undefined): Promise<ParquetReader> {
    if (this.#parquet === undefined) {
      const opening = this.#openOffsetIndexes(options);
      this.#parquet = opening;
      // The next read retries: the store's failure may be temporary.
      opening.catch(() => {
        if (this.#parquet === opening) this.#parquet = undefined;
      });
    }
    return await this.#parquet;
  }

  /** The Parquet reader reads the offset indexes of all chunks when it opens. */
  async #openOffsetIndexes(options: ReadOptions | undefined): Promise<ParquetReader> {
    const library = await this.#library.load();
    const ranges = this.rowGroups.flatMap(({ columns }) => columns.map(offsetIndexOf));
    const release = await this.#source.hold(ranges, options);
    try {
      return await library.ParquetReader.open(this.#source);
    } finally {
      release();
    }
  }

  /** Reads the tag index of one row group, or of the whole block; see `BlockIndex.tags`. */
  async tags(rowGroup?: number, keys?: readonly string[]): Promise<TagIndex> {
    return await this.index.tags(rowGroup, keys);
  }

  /** The checksummed segments, from the start of the file. */
  get segments(): readonly Segment[] {
    return this.#source.segments;
  }

  /** Frees the memory of the Parquet reader. Call it when no read is in flight. */
  close(): void {
    this.#parquet?.then((parquet) => parquet.close(), ignoreOpenError);
    this.#parquet = undefined;
  }
}

/** A failed open was already reported to the reads that needed it. */
function ignoreOpenError(): void {}

/** A block to open, with its open index and the thread's library if the caller has them. */
type BlockToOpen = BlockAddress & { index?: BlockIndex; library?: ParquetLibrary };

/**
 * Opens a block; uses `place.index` if the caller has it open already. Throws Corrupt naming the
 * block, NotFound, or what the store throws.
 */
export async function openBlock(place: BlockToOpen, options?: ReadOptions): Promise<BlockReader> {
  try {
    const index = place.index ?? (await openBlockIndex(place, { ...options, withFooter: true }));
    return await open(place, index, options);
  } catch (error) {
    throw blockError(error, place.key);
  }
}

async function open(
  place: BlockToOpen,
  index: BlockIndex,
  options: ReadOptions | undefined,
): Promise<BlockReader> {
  const { directory, trailer } = index;
  const tail = await index.footer(options);
  const footer = tail.subarray(0, -parquetTailBytes);
  const { footerBytes: sizeBytes, footerCrc: crc } = trailer;
  if (footerLength(tail.subarray(footer.length)) !== footer.length) {
    throw new SpoorError(
      "Corrupt",
      `footer length at the end of the file is wrong, expected ${footer.length}`,
    );
  }
  checkPart(footer, { offset: 0, sizeBytes, crc }, "the Parquet footer");
  const segments = decodeSegments(await index.part(directory.segments, "segment list", options));
  const source = new BlockSource(place, segments, tail, trailer.sectionOffset);
  const rowGroups = footerRowGroups(decodeThrift(footer).value);
  checkAgreement(directory, rowGroups);
  const { library = new ParquetLibrary() } = place;
  return new BlockReader(index, { rowGroups, footerBytes: footer.length, source, library });
}

function offsetIndexOf({ offsetIndexOffset, offsetIndexBytes }: ColumnChunk): ByteRange {
  return { start: offsetIndexOffset, end: offsetIndexOffset + offsetIndexBytes };
}

function checkAgreement(directory: Directory, groups: readonly RowGroupInfo[]): void {
  const same =
    groups.length === directory.rowGroups.length &&
    groups.every(({ rows }, i) => rows === directory.rowGroups[i].rows);
  if (!same) throw new SpoorError("Corrupt", "index and footer disagree about the row groups");
}
