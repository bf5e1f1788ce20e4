/** What a thread that writes and reads checkpoints answers (checkpoint-worker.ts). */
import { type Handlers, Transferred } from "#pkg/rpc/rpc.ts";
import { decodeCheckpoint, encodeCheckpoint } from "./checkpoint-parquet.ts";

/** The calls of checkpoint.ts. */
export function checkpointHandlers(): Handlers {
  return {
    encode: (lines: Uint8Array) => handOver(encodeCheckpoint(new TextDecoder().decode(lines))),
    decode: (bytes: Uint8Array) => handOver(new TextEncoder().encode(decodeCheckpoint(bytes))),
  };
}

/** Buffers go to the caller, they are not copied. */
function handOver(bytes: Uint8Array): Transferred {
  return new Transferred(bytes, [bytes.buffer as ArrayBuffer]);
}
