/**
 * The index section of a block, read part by part: the trailer and the directory come with the last
 * bytes before the Parquet footer, other parts when they are asked for. Nothing of the body, and no
 * footer, is read. Every part is checked against its CRC-32.
 *
 *     | bloom | values of tags | lists of keys | segments | directory | trailer | footer
 *                                  [ near: read when the index is opened        ]
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { ReadOptions } from "#pkg/objstore/objstore.ts";
import { blockFactsCrc, commitMismatch } from "./block-facts.ts";
import type { BlockPlace, ByteRange } from "./block-source.ts";
import { parquetMagic, parquetTailBytes } from "./footer.ts";
import {
  decodeDirectory,
  decodeTrailer,
  type Directory,
  type Trailer,
  trailerBytes,
} from "./index-section.ts";
import { checkPart, type Place } from "./place.ts";
import type { TagIndex } from "./tag-index.ts";
import {
  decodeTagKeys,
  decodeTagValues,
  placesOf,
  type TagKeys,
  type TagValuesPart,
  withValues,
} from "./tag-parts.ts";

/** Bytes before the footer that are read at once. 32 KiB: directory, segments, lists of keys. */
const nearBytes = 32 * 1024;
/** Parts closer than this are read together: a request costs more than these bytes. 16 KiB. */
const gapBytesMax = 16 * 1024;
/** Index section and footer larger than this are refused. */
const tailBytesMax = 256 * 1024 * 1024;
/** Decoded JSON takes about this many times its packed bytes. */
const unpackedFactor = 12;
/** Decoded parts that are kept per block, bytes. 16 MiB. */
const decodedBytesMax = 16 * 1024 * 1024;

export type { BlockPlace } from "./block-source.ts";

export interface OpenIndexOptions extends ReadOptions {
  /** Also reads the Parquet footer, in the same request: for those who will read rows. */
  withFooter?: boolean;
}

interface Held extends ByteRange {
  bytes: Uint8Array;
}

export class BlockIndex {
  readonly key: string;
  readonly sizeBytes: number;
  readonly trailer: Trailer;
  readonly footerOffset: number;
  readonly directory: Directory;
  /** Bytes of the store that were read so far. */
  readBytes: number;
  readonly #place: BlockPlace;
  readonly #near: Held;
  /** Decoded parts of tag indexes by their offset, and about what they take. */
  readonly #decoded = new Map<number, TagKeys | TagIndex | TagValuesPart>();
  #decodedBytes = 0;

  /** Made by `openBlockIndex`. */
  constructor(place: BlockPlace, near: Held, found: FoundIndex) {
    this.key = place.key;
    this.sizeBytes = place.sizeBytes;
    this.trailer = found.trailer;
    this.footerOffset = found.footerOffset;
    this.directory = found.directory;
    this.readBytes = found.readBytes;
    this.#place = place;
    this.#near = near;
  }

  /** About the memory that it holds, bytes. */
  get heldBytes(): number {
    return this.#near.bytes.length + this.#decodedBytes;
  }

  /**
   * The tag index of one row group, or of the whole block if it is undefined: all of it, or only
   * the entries of these keys. Throws Corrupt naming the block, or what the store throws.
   */
  async tags(
    rowGroup: number | undefined,
    keys?: readonly string[],
    options?: ReadOptions,
  ): Promise<TagIndex> {
    try {
      const { entries, ...facts } = await this.tagKeys(rowGroup, options);
      const wanted = keys === undefined ? entries : entries.filter(({ key }) => keys.includes(key));
      const parts = await this.#valueParts(placesOf({ entries: wanted, ...facts }), options);
      return { entries: withValues(wanted, ({ offset }) => parts.get(offset)!), ...facts };
    } catch (error) {
      throw blockError(error, this.key);
    }
  }

  /** The keys of a tag index; in old blocks all of it. Throws as `tags` does. */
  async tagKeys(rowGroup: number | undefined, options?: ReadOptions): Promise<TagKeys | TagIndex> {
    const { directory } = this;
    const place = rowGroup === undefined ? directory.tags : directory.rowGroups[rowGroup].tags;
    const known = this.#decoded.get(place.offset);
    if (known !== undefined) return known as TagKeys | TagIndex;
    const what = rowGroup === undefined ? "tag index" : `tag index of row group ${rowGroup}`;
    try {
      const keys = decodeTagKeys(await this.part(place, what, options), this.trailer.version);
      this.#remember(place, keys);
      return keys;
    } catch (error) {
      throw blockError(error, this.key);
    }
  }

  /** One shard of the trace bloom. Throws as `tags` does. */
  async bloomShard(shard: number, options?: ReadOptions): Promise<Uint8Array> {
    const place = this.directory.bloom.places[shard];
    return await this.part(place, `bloom shard ${shard}`, options);
  }

  /** A part of the index section, checked. Throws as `tags` does. */
  async part(place: Place, what: string, options?: ReadOptions): Promise<Uint8Array> {
    try {
      this.#checkInside(place, what);
      const bytes = await this.#range(place.offset, place.offset + place.sizeBytes, options);
      checkPart(bytes, place, what);
      return bytes;
    } catch (error) {
      throw blockError(error, this.key);
    }
  }

  /** The file from the Parquet footer on; not checked. Throws what the store throws. */
  async footer(options?: ReadOptions): Promise<Uint8Array> {
    return await this.#range(this.footerOffset, this.sizeBytes, options);
  }

  /** Values by the offset of their part; neighbours are read together. */
  async #valueParts(
    places: readonly Place[],
    options: ReadOptions | undefined,
  ): Promise<Map<number, TagValuesPart>> {
    const out = new Map<number, TagValuesPart>();
    const missing: Place[] = [];
    for (const place of places) {
      const known = this.#decoded.get(place.offset);
      if (known === undefined) missing.push(place);
      else out.set(place.offset, known as TagValuesPart);
    }
    for (const place of missing) this.#checkInside(place, "values of a tag");
    for (const group of neighbours(missing)) {
      const start = group[0].offset;
      const end = group.at(-1)!.offset + group.at(-1)!.sizeBytes;
      const bytes = await this.#range(start, end, options);
      for (const place of group) {
        const at = place.offset - start;
        const own = bytes.subarray(at, at + place.sizeBytes);
        checkPart(own, place, "values of a tag");
        const values = decodeTagValues(own);
        this.#remember(place, values);
        out.set(place.offset, values);
      }
    }
    return out;
  }

  #checkInside({ offset, sizeBytes }: Place, what: string): void {
    const isInside =
      offset >= this.trailer.sectionOffset && offset + sizeBytes <= this.footerOffset;
    if (!isInside) throw new SpoorError("Corrupt", `${what} lies outside the index section`);
  }

  async #range(start: number, end: number, options?: ReadOptions): Promise<Uint8Array> {
    const near = this.#near;
    if (start >= near.start && end <= near.end) {
      return near.bytes.subarray(start - near.start, end - near.start);
    }
    if (start === end) return new Uint8Array(0);
    const { store, key } = this.#place;
    const bytes = await store.getRange(key, start, end, options);
    this.readBytes += bytes.length;
    return bytes;
  }

  #remember({ offset, sizeBytes }: Place, part: TagKeys | TagIndex | TagValuesPart): void {
    const bytes = sizeBytes * unpackedFactor + 200;
    if (this.#decodedBytes + bytes > decodedBytesMax) {
      this.#decoded.clear();
      this.#decodedBytes = 0;
    }
    if (!this.#decoded.has(offset)) this.#decodedBytes += bytes;
    this.#decoded.set(offset, part);
  }
}

/** Parts by runs without large gaps, in the order of the file. */
function neighbours(places: readonly Place[]): Place[][] {
  const out: Place[][] = [];
  let end = 0;
  for (const place of places.toSorted((a, b) => a.offset - b.offset)) {
    const last = out.at(-1);
    if (last !== undefined && place.offset - end <= gapBytesMax) last.push(place);
    else out.push([place]);
    end = place.offset + place.sizeBytes;
  }
  return out;
}

interface FoundIndex {
  trailer: Trailer;
  footerOffset: number;
  directory: Directory;
  readBytes: number;
}

/**
 * Opens the index section of a block. Throws Corrupt naming the block, NotFound, or what the store
 * throws.
 */
export async function openBlockIndex(
  place: BlockPlace,
  options: OpenIndexOptions = {},
): Promise<BlockIndex> {
  try {
    return await openAt(place, await findFooter(place, options), options);
  } catch (error) {
    throw blockError(error, place.key);
  }
}

async function openAt(
  place: BlockPlace,
  { footerOffset, bytesRead }: { footerOffset: number; bytesRead: number },
  { withFooter = false, signal }: OpenIndexOptions,
): Promise<BlockIndex> {
  const { store, key, indexOffset = 4 } = place;
  const trailerOffset = footerOffset - trailerBytes;
  if (trailerOffset < Math.max(4, indexOffset) || footerOffset >= place.sizeBytes) {
    throw new SpoorError("Corrupt", `index section from ${indexOffset} to ${footerOffset}`);
  }
  const start = Math.max(indexOffset, footerOffset - nearBytes);
  const end = withFooter ? place.sizeBytes : footerOffset;
  const bytes = await store.getRange(key, start, end, { signal });
  const near: Held = { start, end, bytes };
  let readBytes = bytesRead + bytes.length;
  const trailer = decodeTrailer(bytes.subarray(trailerOffset - start, footerOffset - start));
  checkTrailer(trailer, place, trailerOffset);
  const { directory: at } = trailer;
  let packed: Uint8Array;
  if (at.offset >= start) packed = bytes.subarray(at.offset - start, trailerOffset - start);
  else {
    packed = await store.getRange(key, at.offset, trailerOffset, { signal });
    readBytes += packed.length;
  }
  checkPart(packed, at, "index directory");
  const directory = decodeDirectory(packed);
  if (place.factsCrc !== undefined && blockFactsCrc(directory) !== place.factsCrc) {
    const { index, count } = directory.partition;
    const message = `its commit has another partition or other times: it is of ${index}/${count}`;
    throw new SpoorError("Corrupt", message, { reason: commitMismatch });
  }
  return new BlockIndex(place, near, { trailer, footerOffset, directory, readBytes });
}

/** Where the Parquet footer starts: known, or from the last bytes of the file. */
async function findFooter(
  { store, key, sizeBytes, footerOffset }: BlockPlace,
  options: ReadOptions,
): Promise<{ footerOffset: number; bytesRead: number }> {
  if (sizeBytes < trailerBytes + parquetTailBytes + 4) {
    throw new SpoorError("Corrupt", `file of ${sizeBytes} bytes is too short for a block`);
  }
  if (footerOffset !== undefined) return { footerOffset, bytesRead: 0 };
  const end = await store.getRange(key, sizeBytes - parquetTailBytes, sizeBytes, options);
  const found = sizeBytes - parquetTailBytes - footerLength(end);
  if (found < trailerBytes) throw new SpoorError("Corrupt", "footer longer than its file");
  return { footerOffset: found, bytesRead: end.length };
}

/** The footer's length from the last 8 bytes of a file. Throws Corrupt. */
export function footerLength(end: Uint8Array): number {
  const view = Buffer.from(end.buffer, end.byteOffset, end.length);
  if (view.toString("latin1", 4) !== parquetMagic) {
    throw new SpoorError("Corrupt", `file does not end with ${parquetMagic}`);
  }
  return view.readUInt32LE(0);
}

function checkTrailer(
  { sectionOffset, directory }: Trailer,
  { indexOffset, sizeBytes }: BlockPlace,
  trailerOffset: number,
): void {
  if (indexOffset !== undefined && sectionOffset !== indexOffset) {
    throw new SpoorError("Corrupt", `index section at ${indexOffset}, not ${sectionOffset}`);
  }
  const isInside = sectionOffset >= 4 && sectionOffset <= directory.offset;
  if (!isInside || sizeBytes - sectionOffset > tailBytesMax) {
    throw new SpoorError("Corrupt", `index section at byte ${sectionOffset} of ${sizeBytes}`);
  }
  if (directory.offset + directory.sizeBytes !== trailerOffset) {
    const message = `index directory is not before the trailer at ${trailerOffset}`;
    throw new SpoorError("Corrupt", message);
  }
}

/** Puts the block's name into an error about its content. */
export function blockError(error: unknown, key: string): unknown {
  if (!(error instanceof SpoorError) || error.message.startsWith("block ")) return error;
  if (error.code !== "Corrupt" && error.code !== "InvalidInput") return error;
  const { code, message, reason } = error;
  return new SpoorError(code, `block ${key}: ${message}`, { cause: error, reason });
}
