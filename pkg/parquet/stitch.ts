/**
 * Joins Parquet files of one schema into one file without decoding a page. Row groups are
 * position-independent except for absolute offsets in the footer and in the offset indexes. The
 * bytes are concatenated and those offsets are shifted.
 *
 *     "PAR1" | columns of file 0 | of file 1 | ... | offset indexes | (index section) | footer
 *
 * The result is in parts, because the caller inserts the index section between the offset indexes
 * and the footer.
 */
import { crc32 } from "node:zlib";
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  intField,
  readFooter,
  setInt64,
  setStructList,
  setText,
  shiftField,
  structField,
  structList,
} from "./footer.ts";
import { decodeThrift, encodeThrift, type ThriftStruct } from "./thrift.ts";

/** A piece of the file, fetched and checked as a whole. Segments are contiguous from byte 0. */
export interface Segment {
  sizeBytes: number;
  crc: number;
}

export interface Stitched {
  /** Everything before the index section, in order. */
  body: Uint8Array[];
  bodyBytes: number;
  /** Segments that cover the body without gaps: dictionary pages, data pages, offset indexes. */
  segments: Segment[];
  /** The footer's thrift bytes, without length and magic. */
  footer: Uint8Array;
}

/**
 * Joins the files. Throws Corrupt for a damaged file.
 *
 * @param createdBy the footer's created_by, e.g. "spoor 0.1.0".
 */
export function stitch(files: readonly Uint8Array[], createdBy: string): Stitched {
  if (files.length === 0) throw new SpoorError("Internal", "cannot stitch zero files");
  const magic = Buffer.from("PAR1", "latin1");
  const out: Stitched = { body: [magic], bodyBytes: 4, segments: [], footer: new Uint8Array(0) };
  out.segments.push({ sizeBytes: 4, crc: crc32(magic) });
  const rowGroups: ThriftStruct[] = [];
  const offsetIndexes: { chunk: ThriftStruct; index: ThriftStruct }[] = [];
  let combined: ThriftStruct | undefined;
  let rows = 0;
  for (const file of files) {
    const { footer, footerStart } = readFooter(file);
    rows += intField(footer, 3);
    for (const rowGroup of structList(footer, 4)) {
      appendRowGroup(out, file.subarray(0, footerStart), rowGroup, offsetIndexes);
      rowGroup.set(7, { type: 4, value: BigInt(rowGroups.length) });
      rowGroups.push(rowGroup);
    }
    if (combined === undefined) combined = footer;
    else if (!sameSchema(combined, footer)) {
      throw new SpoorError("Internal", "cannot stitch files of different schemas");
    }
  }
  for (const { chunk, index } of offsetIndexes) {
    const bytes = encodeThrift(index);
    setInt64(chunk, 4, out.bodyBytes);
    chunk.set(5, { type: 5, value: BigInt(bytes.length) });
    append(out, bytes);
  }
  setInt64(combined!, 3, rows);
  setStructList(combined!, 4, rowGroups);
  setText(combined!, 6, createdBy);
  out.footer = encodeThrift(combined!);
  return out;
}

/** Appends the chunks of one row group and shifts every offset in its metadata. */
function appendRowGroup(
  out: Stitched,
  file: Uint8Array,
  rowGroup: ThriftStruct,
  offsetIndexes: { chunk: ThriftStruct; index: ThriftStruct }[],
): void {
  setInt64(rowGroup, 5, out.bodyBytes);
  for (const chunk of structList(rowGroup, 1)) {
    const meta = structField(chunk, 3);
    const dataPage = intField(meta, 9);
    const start = Math.min(dataPage, meta.has(11) ? intField(meta, 11) : dataPage);
    const end = start + intField(meta, 7);
    const shift = out.bodyBytes - start;
    const { value: index } = decodeThrift(file, intField(chunk, 4));
    if (start < 4 || end > file.length) {
      throw new SpoorError("Corrupt", `column chunk lies at ${start} to ${end} of ${file.length}`);
    }
    let at = start;
    for (const page of structList(index, 1)) {
      const pageStart = intField(page, 1);
      const pageEnd = pageStart + intField(page, 2);
      if (pageStart < at || pageEnd <= pageStart || pageEnd > end) {
        throw new SpoorError("Corrupt", `page at bytes ${pageStart} to ${pageEnd} is misplaced`);
      }
      if (pageStart > at) append(out, file.subarray(at, pageStart));
      at = pageEnd;
      append(out, file.subarray(pageStart, at));
      shiftField(page, 1, shift);
    }
    if (at !== end) {
      throw new SpoorError("Corrupt", `pages end at byte ${at}, their column chunk at ${end}`);
    }
    shiftField(meta, 9, shift);
    shiftField(meta, 11, shift);
    // file_offset is deprecated; arrow-rs writes 0 and readers ignore it.
    setInt64(chunk, 2, 0);
    // Column indexes are not copied: per-page statistics are not written.
    chunk.delete(6);
    chunk.delete(7);
    // Bloom filters and index pages are not copied either: their offsets would be wrong.
    for (const id of [10, 14, 15]) meta.delete(id);
    offsetIndexes.push({ chunk, index });
  }
}

function append(out: Stitched, bytes: Uint8Array): void {
  out.body.push(bytes);
  out.segments.push({ sizeBytes: bytes.length, crc: crc32(bytes) });
  out.bodyBytes += bytes.length;
}

function sameSchema(a: ThriftStruct, b: ThriftStruct): boolean {
  const schema = (footer: ThriftStruct): Uint8Array => encodeThrift(new Map([[2, footer.get(2)!]]));
  return Buffer.compare(schema(a), schema(b)) === 0;
}
