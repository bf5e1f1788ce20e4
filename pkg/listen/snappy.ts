/**
 * Decompresses snappy bodies, never past a limit: single blocks (what HTTP clients mean by
 * `snappy`) and the framed format (what gRPC clients and `x-snappy-framed` mean). Both announce
 * their decompressed size.
 * https://github.com/google/snappy/blob/main/framing_format.txt
 */
import { SpoorError } from "#pkg/errors/errors.ts";

/** First chunk of a framed stream. A valid block cannot start with these bytes. */
const streamIdentifier: Buffer = Buffer.from("\xff\x06\x00\x00sNaPpY", "latin1");
const chunkHeadBytes = 4;
const checksumBytes = 4;
/** Largest decompressed chunk. */
const chunkContentBytesMax = 65_536;

/** Returns the decompressed size of `body`. Throws InvalidInput. */
export function snappyLength(body: Uint8Array): number {
  return isFramed(body) ? framedLength(body) : blockLength(body, 0);
}

/** Decompresses `body`, off the main thread. Throws InvalidInput. */
export async function snappyDecompress(body: Uint8Array): Promise<Uint8Array> {
  // Few senders need this native module, so it is loaded on first use.
  const { Decompressor, uncompress } = await import("snappy");
  try {
    if (!isFramed(body)) return (await uncompress(body, { asBuffer: true })) as Buffer;
    const stream = new Decompressor();
    const start = stream.update(body);
    return Buffer.concat([start, await stream.finish()]);
  } catch (cause) {
    throw malformed(cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function isFramed(body: Uint8Array): boolean {
  return streamIdentifier.equals(body.subarray(0, streamIdentifier.length));
}

/** Sums the sizes of the chunks. Skippable chunks have no content. */
function framedLength(body: Uint8Array): number {
  let total = 0;
  let pos = 0;
  while (pos < body.length) {
    if (pos + chunkHeadBytes > body.length) throw malformed("a chunk's head is cut off");
    const type = body[pos];
    const end =
      pos + chunkHeadBytes + (body[pos + 1] | (body[pos + 2] << 8) | (body[pos + 3] << 16));
    if (end > body.length) throw malformed("a chunk is cut off");
    const content = pos + chunkHeadBytes + checksumBytes;
    if (type < 2) {
      if (content > end) throw malformed("a chunk is shorter than its checksum");
      const size = type === 0 ? blockLength(body, content) : end - content;
      if (size > chunkContentBytesMax) throw malformed(`a chunk of ${size} bytes`);
      total += size;
    } else if (type < 0x80) throw malformed(`unknown chunk type ${type}`);
    pos = end;
  }
  return total;
}

/** Reads the varint at the start of a block: its decompressed length, below 2^32. */
function blockLength(body: Uint8Array, start: number): number {
  let value = 0;
  for (let i = 0; i < 5; i++) {
    const byte = body[start + i];
    if (byte === undefined) break;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return value;
  }
  throw malformed("no length at its start");
}

function malformed(why: string, cause?: unknown): SpoorError {
  return new SpoorError("InvalidInput", `body is not snappy: ${why}`, {
    cause,
    reason: "invalid_compression",
  });
}
