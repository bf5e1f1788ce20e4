/** One page of a column chunk: its header, and its bytes without compression. */
import { zstdDecompressSync } from "node:zlib";
import { SpoorError } from "#pkg/errors/errors.ts";
import { intField, structField } from "./footer.ts";
import { decodeThrift } from "./thrift.ts";

export interface DataPage {
  kind: "data";
  /** Levels in the page: values, nulls and empty lists. */
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

/** A page is at most this large without compression, bytes: 256 MiB. */
const pageBytesMax = 256 * 1024 * 1024;

/** Whether pages with this codec can be opened here. */
export function isKnownCodec(codec: number): boolean {
  return codec === codecs.zstd || codec === codecs.uncompressed;
}

/**
 * The page that begins at `start` of its chunk's bytes. Undefined for a kind of page that is not
 * read here. Throws Corrupt.
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
    throw new SpoorError("Corrupt", `Parquet page of ${fullBytes} bytes`);
  }
  if (codec === codecs.uncompressed) return stored;
  let body: Uint8Array;
  try {
    body =
      fullBytes === 0
        ? new Uint8Array(0)
        : zstdDecompressSync(stored, {
            maxOutputLength: fullBytes,
            chunkSize: Math.max(64, fullBytes),
          });
  } catch (cause) {
    throw new SpoorError("Corrupt", `Parquet page cannot be decompressed: ${String(cause)}`, {
      cause,
    });
  }
  if (body.length === fullBytes) return body;
  throw new SpoorError("Corrupt", `Parquet page has ${body.length} bytes, not ${fullBytes}`);
}
