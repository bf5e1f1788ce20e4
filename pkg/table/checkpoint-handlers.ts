/** RPC handlers of the thread that encodes and decodes checkpoints (checkpoint-worker.ts). */
import { type Handlers, Transferred } from "#pkg/threads/threads.ts";
import { decodeCheckpoint, encodeCheckpoint } from "./checkpoint-parquet.ts";

/** Returns the handlers that checkpoint.ts calls. */
export function checkpointHandlers(): Handlers {
  return {
    encode: (lines: Uint8Array) => handOver(encodeCheckpoint(new TextDecoder().decode(lines))),
    decode: (bytes: Uint8Array) => handOver(new TextEncoder().encode(decodeCheckpoint(bytes))),
  };
}

/** Transfers the buffer to the caller without a copy. */
function handOver(bytes: Uint8Array): Transferred {
  return new Transferred(bytes, [bytes.buffer as ArrayBuffer]);
}
