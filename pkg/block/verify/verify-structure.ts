/**
 * Verifies the bytes of a block: every byte belongs to exactly one part of the file, and every
 * checksum matches. No number from the file is used before it is checked.
 */
import { crc32 } from "node:zlib";
import { formatTooNew, hasCode, SpoorError } from "#pkg/errors/errors.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import { type Findings, type FindingCause } from "./findings.ts";
import {
  decodeThrift,
  footerRowGroups,
  intField,
  parquetMagic,
  parquetTailBytes,
  type RowGroupInfo,
  type Segment,
} from "#pkg/parquet/parquet.ts";
import {
  decodeDirectory,
  decodeSegments,
  decodeTrailer,
  type Directory,
  type Trailer,
  trailerBytes,
} from "#pkg/block/index/index-section.ts";
import { checkPart, type PartLocation } from "#pkg/block/place.ts";
import type { TagIndex } from "#pkg/block/index/tag-index.ts";
import {
  decodeTagKeys,
  decodeTagValues,
  valueLocations,
  withValues,
} from "#pkg/block/index/tag-parts.ts";

export type RangeStore = Pick<ObjectStore, "getRange" | "head">;

export interface StructureSource {
  store: RangeStore;
  key: string;
  sizeBytes: number;
  signal?: AbortSignal;
}

/** The decoded structure of a block, as far as it could be read. */
export interface Structure {
  trailer: Trailer;
  footerOffset: number;
  directory: Directory;
  rowGroups: RowGroupInfo[];
  /** Undefined for damaged shards. */
  blooms: (Uint8Array | undefined)[];
  tags: TagIndex | undefined;
  rowGroupTags: (TagIndex | undefined)[];
  /** Row groups without damaged bytes. */
  soundRowGroups: number[];
}

/** Bytes of the body per read. */
const readBytes = 4 * 1024 * 1024;
/** Index section and footer larger than this are refused. */
const tailBytesMax = 256 * 1024 * 1024;

/** Checks the bytes. Returns undefined if the damage makes it impossible to read any row. */
export async function checkStructure(
  source: StructureSource,
  findings: Findings,
): Promise<Structure | undefined> {
  const { sizeBytes } = source;
  if (sizeBytes < 4 + trailerBytes + parquetTailBytes) {
    findings.add("size", "file", `${sizeBytes} bytes are too few for a block`);
    return undefined;
  }
  const start = await range(source, 0, 4);
  if (text(start) !== parquetMagic) {
    findings.add("magic", "start of file", `file does not begin with ${parquetMagic}`);
  }
  const end = await range(source, sizeBytes - parquetTailBytes, sizeBytes);
  if (text(end.subarray(4)) !== parquetMagic) {
    findings.add("magic", "end of file", `file does not end with ${parquetMagic}`);
    return undefined;
  }
  const footerOffset = sizeBytes - parquetTailBytes - Buffer.from(end).readUInt32LE(0);
  if (footerOffset < 4 + trailerBytes) {
    findings.add("footer", "end of file", "the Parquet footer is longer than its file");
    return undefined;
  }
  const trailer = await readTrailer(source, footerOffset, findings);
  if (trailer === undefined) return undefined;
  return await readSection(source, { trailer, footerOffset }, findings);
}

async function readTrailer(
  source: StructureSource,
  footerOffset: number,
  findings: Findings,
): Promise<Trailer | undefined> {
  const bytes = await range(source, footerOffset - trailerBytes, footerOffset);
  const trailer = tried(findings, "trailer", "index trailer", () => decodeTrailer(bytes));
  if (trailer === undefined) return undefined;
  const { sectionOffset } = trailer;
  const tailBytes = source.sizeBytes - sectionOffset;
  const inside = sectionOffset >= 4 && sectionOffset <= footerOffset - trailerBytes;
  if (inside && tailBytes <= tailBytesMax) return trailer;
  findings.add("trailer", "index trailer", `index section at byte ${sectionOffset}`);
  return undefined;
}

async function readSection(
  source: StructureSource,
  { trailer, footerOffset }: { trailer: Trailer; footerOffset: number },
  findings: Findings,
): Promise<Structure | undefined> {
  const { sectionOffset } = trailer;
  const tail = await range(source, sectionOffset, source.sizeBytes);
  const part = (place: PartLocation, what: string): Uint8Array => {
    const from = place.offset - sectionOffset;
    if (from < 0 || place.offset + place.sizeBytes > footerOffset - trailerBytes) {
      throw new SpoorError("Corrupt", `${what} lies outside the index section`);
    }
    const bytes = tail.subarray(from, from + place.sizeBytes);
    checkPart(bytes, place, what);
    return bytes;
  };
  const rowGroups = tried(findings, "footer", "Parquet footer", () => {
    const footer = tail.subarray(footerOffset - sectionOffset, -parquetTailBytes);
    const { footerBytes, footerCrc } = trailer;
    checkPart(footer, { offset: 0, sizeBytes: footerBytes, crc: footerCrc }, "the Parquet footer");
    return checkedFooter(footer, findings);
  });
  const directory = tried(findings, "directory", "index directory", () =>
    decodeDirectory(part(trailer.directory, "the index directory")),
  );
  if (directory === undefined) return undefined;
  const readPart = <T>(
    place: PartLocation,
    what: string,
    read: (bytes: Uint8Array) => T,
  ): T | undefined => tried(findings, "index_part", what, () => read(part(place, what)));
  const { bloom } = directory;
  const blooms = bloom.places.map((place, i) =>
    readPart(place, `bloom shard ${i}`, (bytes) => bytes),
  );
  const valuePlaces: [PartLocation, string][] = [];
  const readTags = (place: PartLocation, what: string): TagIndex | undefined =>
    readPart(place, what, (bytes) => {
      const { entries, ...facts } = decodeTagKeys(bytes, trailer.version);
      for (const one of valueLocations({ entries, ...facts })) valuePlaces.push([one, what]);
      const valuesAt = (one: PartLocation) => decodeTagValues(part(one, `values in the ${what}`));
      return { entries: withValues(entries, valuesAt), ...facts };
    });
  const rowGroupTags = directory.rowGroups.map((group, i) =>
    readTags(group.tags, `tag index of row group ${i}`),
  );
  const tags = readTags(directory.tags, "tag index of the block");
  const segments = readPart(directory.segments, "segment list", decodeSegments);
  // If a list of keys is damaged, the locations of its value parts are unknown.
  const isWhole = tags !== undefined && !rowGroupTags.includes(undefined);
  if (isWhole) {
    checkSectionLayout({ trailer, directory, valuePlaces }, footerOffset, findings);
  }
  if (rowGroups === undefined) return undefined;
  checkBodyLayout(rowGroups, sectionOffset, findings);
  if (segments === undefined) return undefined;
  const damaged = await checkSegments(source, { segments, rowGroups, sectionOffset }, findings);
  if (!checkRowCounts(directory, rowGroups, findings) || damaged === undefined) return undefined;
  const soundRowGroups = [...rowGroups.keys()].filter((i) => !damaged.has(i));
  return {
    trailer,
    footerOffset,
    directory,
    rowGroups,
    blooms,
    tags,
    rowGroupTags,
    soundRowGroups,
  };
}

/** Decodes the row groups of a footer and checks that its numbers agree. */
function checkedFooter(bytes: Uint8Array, findings: Findings): RowGroupInfo[] {
  const { value: footer, end } = decodeThrift(bytes);
  if (end !== bytes.length) {
    findings.add("footer", "Parquet footer", `its thrift ends at byte ${end} of ${bytes.length}`);
  }
  const rowGroups = footerRowGroups(footer);
  const rows = rowGroups.reduce((sum, group) => sum + group.rows, 0);
  if (intField(footer, 3) !== rows) {
    const message = `it says ${intField(footer, 3)} rows, its row groups have ${rows}`;
    findings.add("footer", "Parquet footer", message);
  }
  const names = (group: RowGroupInfo): string => group.columns.map(({ name }) => name).join("\n");
  rowGroups.forEach((group, i) => {
    if (names(group) !== names(rowGroups[0])) {
      findings.add("footer", `row group ${i}`, "its columns differ from those of row group 0");
    }
  });
  return rowGroups;
}

function checkRowCounts(
  directory: Directory,
  rowGroups: readonly RowGroupInfo[],
  findings: Findings,
): boolean {
  const place = "index directory";
  const groups = directory.rowGroups;
  if (groups.length !== rowGroups.length) {
    const message = `it has ${groups.length} row groups, the footer ${rowGroups.length}`;
    findings.add("directory", place, message);
    return false;
  }
  let agrees = true;
  groups.forEach(({ rows }, i) => {
    if (rows === rowGroups[i].rows) return;
    const message = `it says ${rows} rows, the footer ${rowGroups[i].rows}`;
    findings.add("directory", `row group ${i}`, message);
    agrees = false;
  });
  for (const field of ["rows", "traces"] as const) {
    const sum = groups.reduce((total, group) => total + group[field], 0);
    if (sum === directory[field]) continue;
    const message = `it says ${directory[field]} ${field}, its row groups have ${sum}`;
    findings.add("directory", place, message);
  }
  return agrees;
}

interface Piece {
  start: number;
  end: number;
  what: string;
}

/** Checks that the parts of the index section are contiguous, from its start to the trailer. */
function checkSectionLayout(
  {
    trailer,
    directory,
    valuePlaces,
  }: { trailer: Trailer; directory: Directory; valuePlaces: readonly [PartLocation, string][] },
  footerOffset: number,
  findings: Findings,
): void {
  const piece = (place: PartLocation, what: string): Piece => ({
    start: place.offset,
    end: place.offset + place.sizeBytes,
    what,
  });
  const pieces = [
    ...directory.bloom.places.map((place, i) => piece(place, `bloom shard ${i}`)),
    ...valuePlaces.map(([place, what]) => piece(place, `values in the ${what}`)),
    ...directory.rowGroups.map(({ tags }, i) => piece(tags, `tag index of row group ${i}`)),
    piece(directory.tags, "tag index of the block"),
    piece(directory.segments, "segment list"),
    piece(trailer.directory, "index directory"),
  ];
  checkContiguous(pieces, trailer.sectionOffset, footerOffset - trailerBytes, findings);
}

/** Checks that chunks and offset indexes are contiguous, from the magic to the index section. */
function checkBodyLayout(
  rowGroups: readonly RowGroupInfo[],
  sectionOffset: number,
  findings: Findings,
): void {
  checkContiguous(bodyPieces(rowGroups), 4, sectionOffset, findings);
}

function bodyPieces(rowGroups: readonly RowGroupInfo[]): Piece[] {
  return rowGroups.flatMap(({ columns }, group) =>
    columns.flatMap((chunk) => {
      const column = `column ${chunk.name} of row group ${group}`;
      const { start, dataStart, sizeBytes, offsetIndexOffset, offsetIndexBytes } = chunk;
      const end = start + sizeBytes;
      const pieces = [{ start: dataStart, end, what: `data pages of ${column}` }];
      if (dataStart > start) {
        pieces.push({ start, end: dataStart, what: `dictionary page of ${column}` });
      }
      const indexEnd = offsetIndexOffset + offsetIndexBytes;
      pieces.push({ start: offsetIndexOffset, end: indexEnd, what: `offset index of ${column}` });
      return pieces;
    }),
  );
}

function checkContiguous(pieces: Piece[], from: number, to: number, findings: Findings): void {
  pieces.sort((a, b) => a.start - b.start || a.end - b.end);
  let at = from;
  for (const { start, end, what } of pieces) {
    if (start !== at) {
      const how = start > at ? "belong to no part" : "belong to two parts";
      const [low, high] = [Math.min(at, start), Math.max(at, start)];
      findings.add("layout", what, `bytes ${low} to ${high} before it ${how}`);
    }
    at = end;
  }
  if (at !== to) findings.add("layout", `bytes ${at} to ${to}`, "they belong to no part");
}

/** Returns the row groups with damaged bytes; undefined if the segments do not fit the file. */
async function checkSegments(
  source: StructureSource,
  body: { segments: readonly Segment[]; rowGroups: readonly RowGroupInfo[]; sectionOffset: number },
  findings: Findings,
): Promise<Set<number> | undefined> {
  const { segments, rowGroups, sectionOffset } = body;
  const covered = segments.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  if (covered !== sectionOffset) {
    const message = `segments cover ${covered} bytes, the body has ${sectionOffset}`;
    findings.add("layout", "segment list", message);
    return undefined;
  }
  const damaged = new Set<number>();
  const pieces = bodyPieces(rowGroups);
  const reader = new BodyReader(source, sectionOffset);
  let start = 0;
  for (const { sizeBytes, crc } of segments) {
    const end = start + sizeBytes;
    if ((await reader.crcOf(sizeBytes)) !== crc) {
      const hit = pieces.find((piece) => piece.start < end && piece.end > start);
      const message = `checksum of bytes ${start} to ${end} does not match`;
      findings.add("checksum", hit?.what ?? `bytes ${start} to ${end}`, message);
      const group = /row group (\d+)$/.exec(hit?.what ?? "");
      // A damaged offset index makes all row groups unreadable: opening the file reads all of them.
      const isIndex = hit?.what.startsWith("offset index");
      if (group !== null && !isIndex) damaged.add(Number(group[1]));
      else for (const i of rowGroups.keys()) damaged.add(i);
    }
    start = end;
  }
  return damaged;
}

/** Reads the body sequentially, in pieces of bounded size. */
class BodyReader {
  readonly #source: StructureSource;
  readonly #end: number;
  #buffer: Uint8Array = new Uint8Array(0);
  #offset = 0;

  constructor(source: StructureSource, end: number) {
    this.#source = source;
    this.#end = end;
  }

  /** Reads the next `sizeBytes` and returns their CRC-32. */
  async crcOf(sizeBytes: number): Promise<number> {
    let crc = 0;
    let left = sizeBytes;
    while (left > 0) {
      if (this.#buffer.length === 0) {
        const end = Math.min(this.#offset + readBytes, this.#end);
        this.#buffer = await range(this.#source, this.#offset, end);
        this.#offset = end;
      }
      const piece = this.#buffer.subarray(0, left);
      crc = crc32(piece, crc);
      left -= piece.length;
      this.#buffer = this.#buffer.subarray(piece.length);
    }
    return crc;
  }
}

async function range(source: StructureSource, start: number, end: number): Promise<Uint8Array> {
  const { store, key, signal } = source;
  return await store.getRange(key, start, end, { signal });
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

/** Runs a check; turns Corrupt and InvalidInput into a finding and returns undefined. */
function tried<T>(
  findings: Findings,
  cause: FindingCause,
  place: string,
  check: () => T,
): T | undefined {
  try {
    return check();
  } catch (error) {
    if (!hasCode(error, "Corrupt") && !hasCode(error, "InvalidInput")) throw error;
    const isNewer = error.reason === formatTooNew;
    findings.add(isNewer ? "version" : cause, place, error.message);
    return undefined;
  }
}
