// HOT: runs per request; measured by `npm run bench` (receive).
/**
 * Decompresses request bodies, never past a limit: a bomb costs the limit, not its full size.
 *
 * Measured (Node 24, bodies of spans): sync calls with an output buffer of the right size take 26
 * µs for 35 KB and 280 µs for 512 KB; async ones 120-190 µs and 490-1,400 µs. So a small body that
 * inflates to at most 1 MiB is inflated in place. The size of the compressed body counts as well,
 * since even empty blocks take time: 60 MB of them take 2.5 s. Everything else goes to Node's
 * thread pool, a few bodies at a time, since the log's fsyncs need that pool too.
 */
import { promisify } from "node:util";
import {
  constants,
  gunzip,
  gunzipSync,
  inflate as zlibInflate,
  inflateRaw,
  inflateRawSync,
  inflateSync,
  zstdDecompress,
  zstdDecompressSync,
  type ZlibOptions,
  type ZstdOptions,
} from "node:zlib";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Lease } from "./in-flight.ts";
import { snappyDecompress, snappyLength } from "./snappy.ts";
import type { Turns } from "./turns.ts";

export type Encoding = "identity" | "gzip" | "zstd" | "deflate" | "snappy";

/** Supported encodings, for Accept-Encoding and grpc-accept-encoding. */
export const encodingNames: readonly Encoding[] = ["identity", "gzip", "zstd", "deflate", "snappy"];

export interface InflateOptions {
  encoding: Encoding;
  bytesMax: number;
  /** Holds the compressed bytes; `inflate` adds the output. */
  lease: Lease;
  /** Bounds how many bodies are inflated in the thread pool at the same time. */
  turns: Turns;
}

/** Largest compressed body that is inflated in place: see the measurement above. */
export const inPlaceBodyBytesMax: number = 64 * 1024;

const syncBytesMax = 1024 * 1024;
/** Compression ratio of bodies of spans is 8 to 12. */
const usualRatio = 12;
/** A window of 32 MiB, as the highest levels use. The library's default is 128 MiB per request. */
const zstdWindowLogMax = 25;

const asyncInflaters = {
  gzip: promisify<Uint8Array, ZlibOptions, Buffer>(gunzip),
  zlib: promisify<Uint8Array, ZlibOptions, Buffer>(zlibInflate),
  deflateRaw: promisify<Uint8Array, ZlibOptions, Buffer>(inflateRaw),
  zstd: promisify<Uint8Array, ZstdOptions, Buffer>(zstdDecompress),
};
const syncInflaters = {
  gzip: gunzipSync,
  zlib: inflateSync,
  deflateRaw: inflateRawSync,
  zstd: zstdDecompressSync,
};

/** Parses a Content-Encoding or grpc-encoding header; undefined if the encoding is unknown. */
export function parseEncoding(header: string | undefined): Encoding | undefined {
  switch (header?.trim().toLowerCase()) {
    case undefined:
    case "":
    case "none":
    case "identity":
      return "identity";
    case "gzip":
    case "x-gzip":
      return "gzip";
    case "zstd":
      return "zstd";
    case "deflate":
    case "zlib":
      return "deflate";
    case "snappy":
    case "x-snappy-framed":
      return "snappy";
    default:
      return undefined;
  }
}

/**
 * Decompresses `body`. Throws TooLarge above `bytesMax`, LimitExceeded if the lease cannot grow,
 * InvalidInput if the body does not have this encoding.
 */
export async function inflate(body: Uint8Array, options: InflateOptions): Promise<Uint8Array> {
  const { encoding, lease, turns } = options;
  if (encoding === "identity") return body;
  if (encoding === "snappy") return await inflateSnappy(body, options);
  const format = encoding === "deflate" ? deflateFormat(body) : encoding;
  const held = lease.bytes;
  for (const { limit, isInPlace } of attempts(body.length, options.bytesMax)) {
    lease.resize(held + limit);
    try {
      const zlib = zlibOptions(encoding, limit, guessBytes(body, encoding));
      const inflated = isInPlace
        ? syncInflaters[format](body, zlib)
        : await turns.run(() => asyncInflaters[format](body, zlib));
      lease.resize(held + inflated.length);
      return inflated;
    } catch (error) {
      if (!isOverLimit(error)) throw inflateError(error, encoding);
    }
  }
  throw tooLarge(options.bytesMax);
}

interface Attempt {
  limit: number;
  isInPlace: boolean;
}

/**
 * Returns output limits to try in order. The output's size is known only after inflating, so the
 * lease holds the whole limit meanwhile.
 */
function attempts(bodyBytes: number, bytesMax: number): Attempt[] {
  const syncMax = Math.min(bytesMax, syncBytesMax);
  const usual = Math.min(bytesMax, Math.max(syncMax, bodyBytes * 20));
  const pooled = [usual, bytesMax].map((limit) => ({ limit, isInPlace: false }));
  const isSmall = bodyBytes <= inPlaceBodyBytesMax;
  return isSmall ? [{ limit: syncMax, isInPlace: true }, ...pooled] : pooled;
}

async function inflateSnappy(body: Uint8Array, options: InflateOptions): Promise<Uint8Array> {
  const { bytesMax, lease, turns } = options;
  const sizeBytes = snappyLength(body);
  if (sizeBytes > bytesMax) throw tooLarge(bytesMax);
  lease.resize(lease.bytes + sizeBytes);
  return await turns.run(() => snappyDecompress(body));
}

function tooLarge(bytesMax: number): SpoorError {
  return new SpoorError("TooLarge", `request over ${bytesMax} bytes after decompression`, {
    reason: "body_too_large",
  });
}

/** Returns options for at most `limit` bytes of output, with a buffer of the expected size. */
function zlibOptions(encoding: Encoding, limit: number, guess: number): ZlibOptions & ZstdOptions {
  const chunkSize = Math.max(64, Math.min(guess, limit + 1, syncBytesMax));
  if (encoding !== "zstd") return { maxOutputLength: limit, chunkSize };
  const params = { [constants.ZSTD_d_windowLogMax]: zstdWindowLogMax };
  return { maxOutputLength: limit, chunkSize, params };
}

/** Estimates the output's size. A gzip body ends with its size modulo 4 GiB. Only a hint. */
function guessBytes(body: Uint8Array, encoding: Encoding): number {
  const end = body.length;
  if (encoding !== "gzip" || end < 18) return end * usualRatio;
  const size = body[end - 4] | (body[end - 3] << 8) | (body[end - 2] << 16) | (body[end - 1] << 24);
  return (size >>> 0) + 1;
}

/** Detects the format. HTTP's "deflate" is zlib, but some clients omit the zlib header. */
function deflateFormat(body: Uint8Array): "zlib" | "deflateRaw" {
  const hasHeader = (body[0] & 0x0f) === 8 && ((body[0] << 8) | body[1]) % 31 === 0;
  return hasHeader ? "zlib" : "deflateRaw";
}

function isOverLimit(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE";
}

function inflateError(error: unknown, encoding: Encoding): SpoorError {
  const why = error instanceof Error ? error.message : String(error);
  return new SpoorError("InvalidInput", `body is not ${encoding}: ${why}`, {
    cause: error,
    reason: "invalid_compression",
  });
}
