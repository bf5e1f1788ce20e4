/**
 * Finds the bytes of a column chunk that hold given rows: the pages by the offset index, and the
 * dictionary.
 *
 *     | dictionary | page 0: rows 0.. | page 1: rows 20000.. | page 2 ... |
 *       [ needed ]                      [ rows 25000 to 26000 ]
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import { type ColumnChunk, intField, structList } from "./footer.ts";
import { decodeThrift } from "./thrift.ts";

/** Bytes [start, end) of the file. */
export interface ByteRange {
  start: number;
  end: number;
}

/** Rows [from, to) of a row group. */
export interface RowRange {
  from: number;
  to: number;
}

export interface Page extends ByteRange {
  firstRow: number;
}

/** Decodes the pages of a chunk from its offset index. Throws Corrupt if a page is misplaced. */
export function decodePages(chunk: ColumnChunk, offsetIndex: Uint8Array): Page[] {
  const end = chunk.start + chunk.sizeBytes;
  let at = chunk.dataStart;
  let row = 0;
  return structList(decodeThrift(offsetIndex).value, 1).map((location, i) => {
    const start = intField(location, 1);
    const page = { start, end: start + intField(location, 2), firstRow: intField(location, 3) };
    const isInOrder = i === 0 ? page.firstRow === 0 : page.firstRow > row;
    if (start < at || page.end <= start || page.end > end || !isInOrder) {
      throw new SpoorError("Corrupt", `column ${chunk.name}: page at byte ${start} is misplaced`);
    }
    at = page.end;
    row = page.firstRow;
    return page;
  });
}

/** Returns the pages that hold these rows. */
export function pagesOfRows(pages: readonly Page[], { from, to }: RowRange): Page[] {
  return pages.filter(({ firstRow }, i) => {
    const nextRow = pages[i + 1]?.firstRow ?? Number.POSITIVE_INFINITY;
    return firstRow < to && nextRow > from;
  });
}

/** Returns the byte ranges needed for these rows: the dictionary, if there is one, and pages. */
export function rangesOfRows(
  { start, dataStart }: ColumnChunk,
  pages: readonly Page[],
  rows: RowRange,
): ByteRange[] {
  const dictionary = dataStart > start ? [{ start, end: dataStart }] : [];
  return [...dictionary, ...pagesOfRows(pages, rows)];
}
