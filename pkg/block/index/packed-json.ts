/** Packs JSON parts of the index section: compressed with zstd, bounded in size and depth. */
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { SpoorError } from "#pkg/errors/errors.ts";

/** Most decompressed bytes of one part. */
const jsonBytesMax = 32 * 1024 * 1024;
/** Deepest nesting of a part's JSON; Spoor writes 6 levels. */
const depthMax = 16;

export function packJson(value: unknown): Uint8Array {
  const json = Buffer.from(JSON.stringify(value), "utf8");
  if (json.length > jsonBytesMax) {
    throw new SpoorError("Internal", `part of the index section has ${json.length} bytes`);
  }
  return zstdCompressSync(json);
}

/** Reads what `packJson` wrote. Throws Corrupt naming the part. */
export function unpackJson(bytes: Uint8Array, what: string): unknown {
  try {
    const json = zstdDecompressSync(bytes, { maxOutputLength: jsonBytesMax });
    checkDepth(json);
    return JSON.parse(json.toString("utf8")) as unknown;
  } catch (cause) {
    throw new SpoorError("Corrupt", `${what} of the index section cannot be read`, { cause });
  }
}

/** Checks the nesting before parsing: megabytes of brackets would become gigabytes of arrays. */
function checkDepth(json: Uint8Array): void {
  let depth = 0;
  let inText = false;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (inText) {
      if (byte === 0x5c) at++;
      else if (byte === 0x22) inText = false;
    } else if (byte === 0x22) inText = true;
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > depthMax) throw new SpoorError("Corrupt", "JSON nested too deeply");
    } else if (byte === 0x5d || byte === 0x7d) depth--;
  }
}
