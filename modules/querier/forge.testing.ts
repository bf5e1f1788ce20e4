/** Test support: changes bytes of a block's body and recomputes all checksums. */
import { crc32, zstdCompressSync } from "node:zlib";
import {
  decodeDirectory,
  decodeSegments,
  decodeTrailer,
  type Directory,
  trailerBytes,
} from "#pkg/block/index/index-section.ts";
import type { PartLocation } from "#pkg/block/place.ts";

/** Returns a copy of the block with `change` applied to its body, which must keep its size. */
export function forgeBlock(block: Uint8Array, change: (body: Buffer) => void): Buffer {
  const file = Buffer.from(block);
  const footerStart = file.length - 8 - file.readUInt32LE(file.length - 8);
  const trailer = decodeTrailer(file.subarray(footerStart - trailerBytes, footerStart));
  const at = ({ offset, sizeBytes }: PartLocation): Buffer =>
    file.subarray(offset, offset + sizeBytes);
  const directory: Directory = decodeDirectory(at(trailer.directory));
  const segments = at(directory.segments);
  const body = file.subarray(0, trailer.sectionOffset);
  change(body);
  let start = 0;
  decodeSegments(segments).forEach(({ sizeBytes }, i) => {
    segments.writeUInt32LE(crc32(body.subarray(start, start + sizeBytes)), i * 8 + 4);
    start += sizeBytes;
  });
  directory.segments.crc = crc32(segments);
  const packed = zstdCompressSync(Buffer.from(JSON.stringify(directory)));
  const parts = file.subarray(trailer.sectionOffset, trailer.directory.offset);
  const end = file.subarray(footerStart - trailerBytes);
  end.writeUInt32LE(packed.length, 16);
  end.writeUInt32LE(crc32(packed), 20);
  end.writeUInt32LE(crc32(end.subarray(0, 36)), 36);
  return Buffer.concat([body, parts, packed, end]);
}
