/**
 * Reads the index section of a block part by part. Opening reads the last bytes before the Parquet
 * footer, which hold the trailer and the directory. Other parts are read on demand. The body is
 * never read, and the footer only on request. Every part is checked against its CRC-32.
 *
 *     | bloom | values of tags | lists of keys | segments | directory | trailer | footer
 *                                  [ near: read when the index is opened        ]
 */
import { type ByteRange, parquetMagic, parquetTailBytes } from "#pkg/parquet/parquet.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { ReadOptions } from "#pkg/objstore/objstore.ts";
import { blockFactsCrc, commitMismatch } from "./block-facts.ts";
import type { BlockAddress } from "./block-source.ts";
import {
  decodeDirectory,
  decodeTrailer,
  type Directory,
  type Trailer,
  trailerBytes,
} from "#pkg/block/index/index-section.ts";
import { checkPart, type PartLocation } from "./place.ts";
import type { TagIndex } from "#pkg/block/index/tag-index.ts";
import {
  decodeTagKeys,
  decodeTagValues,
  valueLocations,
  type TagKeys,
  type TagValuesPart,
  withValues,
} from "#pkg/block/index/tag-parts.ts";

/** Bytes before the footer that are read on opening: directory, segments, lists of keys. 32 KiB. */
const nearBytes = 32 * 1024;
/** Parts with a smaller gap are read together: a request costs more than these bytes. 16 KiB. */
const gapBytesMax = 16 * 1024;
/** Index section and footer larger than this are refused. */
const tailBytesMax = 256 * 1024 * 1024;
/** Estimated ratio of the memory of decoded JSON to its compressed bytes. */
const unpackedFactor = 12;
/** Most memory of decoded parts cached per block, bytes: 16 MiB. */
const decodedBytesMax = 16 * 1024 * 1024;

export type { BlockAddress } from "./block-source.ts";

export interface OpenIndexOptions extends ReadOptions {
  /** Also reads the Parquet footer in the same request; set it if rows will be read. */
  withFooter?: boolean;
}

interface Held extends ByteRange {
  bytes: Uint8Array;
}

/** The open index section of one block. */
export class BlockIndex {
  readonly key: string;
  readonly sizeBytes: number;
  readonly trailer: Trailer;
  readonly footerOffset: number;
  readonly directory: Directory;
  /** Bytes read from the store so far. */
  readBytes: number;
  readonly #place: BlockAddress;
  readonly #near: Held;
  /** Cache of decoded tag index parts by offset, and its estimated memory. */
  readonly #decoded = new Map<number, TagKeys | TagIndex | TagValuesPart>();
  #decodedBytes = 0;

  /** Use `openBlockIndex`. */
  constructor(place: BlockAddress, near: Held, found: FoundIndex) {
    this.key = place.key;
    this.sizeBytes = place.sizeBytes;
    this.trailer = found.trailer;
    this.footerOffset = found.footerOffset;
    this.directory = found.directory;
    this.readBytes = found.readBytes;
    this.#place = place;
    this.#near = near;
  }

  /** Estimated memory of this object, bytes. */
  get heldBytes(): number {
    return this.#near.bytes.length + this.#decodedBytes;
  }

  /**
   * Reads the tag index of one row group, or of the whole block if `rowGroup` is undefined. With
   * `keys`, reads only the entries of these keys. Throws Corrupt naming the block, or what the
   * store throws.
   */
  async tags(
    rowGroup: number | undefined,
    keys?: readonly string[],
    options?: ReadOptions,
  ): Promise<TagIndex> {
    try {
      const { entries, ...facts } = await this.tagKeys(rowGroup, options);
      const wanted = keys === undefined ? entries : entries.filter(({ key }) => keys.includes(key));
      const parts = await this.#valueParts(valueLocations({ entries: wanted, ...facts }), options);
      return { entries: withValues(wanted, ({ offset }) => parts.get(offset)!), ...facts };
    } catch (error) {
      throw blockError(error, this.key);
    }
  }

  /** Reads the keys of a tag index; for version 1, the whole index. Throws as `tags` does. */
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

  /** Reads one shard of the trace bloom. Throws as `tags` does. */
  async bloomShard(shard: number, options?: ReadOptions): Promise<Uint8Array> {
    const place = this.directory.bloom.places[shard];
    return await this.part(place, `bloom shard ${shard}`, options);
  }

  /** Reads a part of the index section and checks its CRC. Throws as `tags` does. */
  async part(place: PartLocation, what: string, options?: ReadOptions): Promise<Uint8Array> {
    try {
      this.#checkInside(place, what);
      const bytes = await this.#range(place.offset, place.offset + place.sizeBytes, options);
      checkPart(bytes, place, what);
      return bytes;
    } catch (error) {
      throw blockError(error, this.key);
    }
  }

  /** Reads the file from the Parquet footer on, unchecked. Throws what the store throws. */
  async footer(options?: ReadOptions): Promise<Uint8Array> {
    return await this.#range(this.footerOffset, this.sizeBytes, options);
  }

  /** Reads value parts, neighbours together. Returns them by offset. */
  async #valueParts(
    places: readonly PartLocation[],
    options: ReadOptions | undefined,
  ): Promise<Map<number, TagValuesPart>> {
    const out = new Map<number, TagValuesPart>();
    const missing: PartLocation[] = [];
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

  #checkInside({ offset, sizeBytes }: PartLocation, what: string): void {
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

  #remember({ offset, sizeBytes }: PartLocation, part: TagKeys | TagIndex | TagValuesPart): void {
    const bytes = sizeBytes * unpackedFactor + 200;
    if (this.#decodedBytes + bytes > decodedBytesMax) {
      this.#decoded.clear();
      this.#decodedBytes = 0;
    }
    if (!this.#decoded.has(offset)) this.#decodedBytes += bytes;
    this.#decoded.set(offset, part);
  }
}

/** Groups parts into runs without large gaps, in file order. */
function neighbours(places: readonly PartLocation[]): PartLocation[][] {
  const out: PartLocation[][] = [];
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
  place: BlockAddress,
  options: OpenIndexOptions = {},
): Promise<BlockIndex> {
  try {
    return await openAt(place, await findFooter(place, options), options);
  } catch (error) {
    throw blockError(error, place.key);
  }
}

async function openAt(
  place: BlockAddress,
  { footerOffset, bytesRead }: { footerOffset: number; bytesRead: number },
  { withFooter = false, signal }: OpenIndexOptions,
): Promise<BlockIndex> {
  const { store, key, indexOffset = 4 } = place;
  const trailerOffset = footerOffset - trailerBytes;
  if (trailerOffset < Math.max(4, indexOffset) || footerOffset >= place.sizeBytes) {
    const message = `impossible index section: bytes ${indexOffset} to ${footerOffset}`;
    throw new SpoorError("Corrupt", message);
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
    const message = `its commit does not match its times or its partition ${index}/${count}`;
    throw new SpoorError("Corrupt", message, { reason: commitMismatch });
  }
  return new BlockIndex(place, near, { trailer, footerOffset, directory, readBytes });
}

/** Returns where the Parquet footer starts: as the caller knows, or from the end of the file. */
async function findFooter(
  { store, key, sizeBytes, footerOffset }: BlockAddress,
  options: ReadOptions,
): Promise<{ footerOffset: number; bytesRead: number }> {
  if (sizeBytes < trailerBytes + parquetTailBytes + 4) {
    throw new SpoorError("Corrupt", `file of ${sizeBytes} bytes is too short for a block`);
  }
  if (footerOffset !== undefined) return { footerOffset, bytesRead: 0 };
  const end = await store.getRange(key, sizeBytes - parquetTailBytes, sizeBytes, options);
  const found = sizeBytes - parquetTailBytes - footerLength(end);
  if (found < trailerBytes) throw new SpoorError("Corrupt", "footer is longer than its file");
  return { footerOffset: found, bytesRead: end.length };
}

/** Reads the footer's length from the last 8 bytes of a file. Throws Corrupt. */
export function footerLength(end: Uint8Array): number {
  const view = Buffer.from(end.buffer, end.byteOffset, end.length);
  if (view.toString("latin1", 4) !== parquetMagic) {
    throw new SpoorError("Corrupt", `file does not end with ${parquetMagic}`);
  }
  return view.readUInt32LE(0);
}

function checkTrailer(
  { sectionOffset, directory }: Trailer,
  { indexOffset, sizeBytes }: BlockAddress,
  trailerOffset: number,
): void {
  if (indexOffset !== undefined && sectionOffset !== indexOffset) {
    const message = `index section starts at ${sectionOffset}, its commit says ${indexOffset}`;
    throw new SpoorError("Corrupt", message);
  }
  const isInside = sectionOffset >= 4 && sectionOffset <= directory.offset;
  if (!isInside || sizeBytes - sectionOffset > tailBytesMax) {
    const message = `impossible index section at byte ${sectionOffset} of ${sizeBytes}`;
    throw new SpoorError("Corrupt", message);
  }
  if (directory.offset + directory.sizeBytes !== trailerOffset) {
    const message = `index directory does not end at the trailer at ${trailerOffset}`;
    throw new SpoorError("Corrupt", message);
  }
}

/** Adds the block's key to the message of an error about its content. */
export function blockError(error: unknown, key: string): unknown {
  if (!(error instanceof SpoorError) || error.message.startsWith("block ")) return error;
  if (error.code !== "Corrupt" && error.code !== "InvalidInput") return error;
  const { code, message, reason } = error;
  return new SpoorError(code, `block ${key}: ${message}`, { cause: error, reason });
}
