/** Opens one page of a column chunk: decodes its header and decompresses its bytes. */
import { zstdDecompressSync } from "node:zlib";
import { SpoorError } from "#pkg/errors/errors.ts";
import { intField, structField } from "./footer.ts";
import { decodeThrift } from "./thrift.ts";

export interface DataPage {
  kind: "data";
  /** Number of levels in the page: values, nulls and empty lists. */
  count: number;
  encoding: number;
  body: Uint8Array;
}

export interface DictionaryPage {
  kind: "dictionary";
  count: number;
  body: Uint8Array;
}

/** Values of Parquet's enums. */
const dataPageType = 0;
const dictionaryPageType = 2;
const codecs = { uncompressed: 0, zstd: 6 } as const;
export const encodings = { plain: 0, plainDictionary: 2, rle: 3, delta: 5, dictionary: 8 } as const;

/** Size of a decompressed page at most. */
const pageBytesMax = 256 * 1024 * 1024;

/** Returns whether `openPage` supports this codec. */
export function isKnownCodec(codec: number): boolean {
  return codec === codecs.zstd || codec === codecs.uncompressed;
}

/**
 * Opens the page at the start of `bytes`. `sizeBytes` is the size of the page with its header.
 * Returns undefined for an unsupported kind of page. Throws Corrupt.
 */
export function openPage(
  bytes: Uint8Array,
  codec: number,
): { page: DataPage | DictionaryPage; sizeBytes: number } | undefined {
  const { value: header, end } = decodeThrift(bytes);
  const type = intField(header, 1);
  if (type !== dataPageType && type !== dictionaryPageType) return undefined;
  const fullBytes = intField(header, 2);
  const storedBytes = intField(header, 3);
  if (storedBytes < 0 || storedBytes > bytes.length - end) {
    throw new SpoorError("Corrupt", `Parquet page of ${storedBytes} bytes ends after its chunk`);
  }
  const stored = bytes.subarray(end, end + storedBytes);
  const sizeBytes = end + storedBytes;
  if (type === dataPageType) {
    const facts = structField(header, 5);
    if (intField(facts, 3) !== encodings.rle) return undefined;
    const count = intField(facts, 1);
    const body = inflate(stored, fullBytes, codec);
    return { page: { kind: "data", count, encoding: intField(facts, 2), body }, sizeBytes };
  }
  const count = intField(structField(header, 7), 1);
  return {
    page: { kind: "dictionary", count, body: inflate(stored, fullBytes, codec) },
    sizeBytes,
  };
}

function inflate(stored: Uint8Array, fullBytes: number, codec: number): Uint8Array {
  if (fullBytes < 0 || fullBytes > pageBytesMax) {
    throw new SpoorError("Corrupt", `impossible Parquet page of ${fullBytes} bytes`);
  }
  if (codec === codecs.uncompressed) return stored;
  const body = storedFrame(stored) ?? decompress(stored, fullBytes);
  if (body.length === fullBytes) return body;
  throw new SpoorError("Corrupt", `Parquet page has ${body.length} bytes, not ${fullBytes}`);
}

function decompress(stored: Uint8Array, fullBytes: number): Uint8Array {
  if (fullBytes === 0) return new Uint8Array(0);
  try {
    // With one spare byte, the decompressor sees that it is done and allocates no second buffer.
    const chunkSize = Math.max(64, fullBytes + 1);
    const { buffer, byteOffset, length } = zstdDecompressSync(stored, {
      maxOutputLength: fullBytes,
      chunkSize,
    });
    return new Uint8Array(buffer, byteOffset, length);
  } catch (cause) {
    throw new SpoorError("Corrupt", `Parquet page cannot be decompressed: ${String(cause)}`, {
      cause,
    });
  }
}

/** Bytes of the content size, by the two highest flag bits of a zstd frame. */
const contentSizeBytes = [0, 2, 4, 8] as const;
/** Flags that exclude a frame: dictionary id, checksum, and a reserved bit. */
const otherFlags = 0b1111;
const singleSegmentFlag = 0b10_0000;

/**
 * Returns a view of the content of a zstd frame that is one raw (incompressible) block. Returns
 * undefined for all other frames. Packed numbers are often stored raw, and the library would
 * allocate a window and two buffers to copy them.
 *
 *     magic (4) | flags (1) | window (0..1) | content size (0..8) | block header (3) | block
 */
export function storedFrame(frame: Uint8Array): Uint8Array | undefined {
  const flags = frame[4];
  if (frame.length < 9 || (flags & otherFlags) !== 0) return undefined;
  if (frame[0] !== 0x28 || frame[1] !== 0xb5 || frame[2] !== 0x2f || frame[3] !== 0xfd) {
    return undefined;
  }
  const isSingle = (flags & singleSegmentFlag) !== 0;
  const sizeBytes = contentSizeBytes[flags >> 6];
  const start = 5 + (isSingle ? Math.max(1, sizeBytes) : 1 + sizeBytes);
  if (start + 3 > frame.length) return undefined;
  const header = frame[start] | (frame[start + 1] << 8) | (frame[start + 2] << 16);
  const isLastAndRaw = (header & 0b111) === 1;
  if (!isLastAndRaw || header >> 3 !== frame.length - start - 3) return undefined;
  return frame.subarray(start + 3);
}
