/**
 * Worker thread that writes and reads the Parquet file of one checkpoint; see checkpoint.ts. The
 * Parquet reader may panic here, which ends the thread.
 */
import { parentPort } from "node:worker_threads";
import { Rpc, Transferred } from "#pkg/rpc/rpc.ts";
import { runInBackground } from "#pkg/threads/background.ts";
import { decodeCheckpoint, encodeCheckpoint } from "./checkpoint-parquet.ts";

/** Buffers go to the caller, they are not copied. */
function handOver(bytes: Uint8Array): Transferred {
  return new Transferred(bytes, [bytes.buffer as ArrayBuffer]);
}

runInBackground();
void new Rpc(parentPort!, {
  encode: (lines: Uint8Array) => handOver(encodeCheckpoint(new TextDecoder().decode(lines))),
  decode: (bytes: Uint8Array) => handOver(new TextEncoder().encode(decodeCheckpoint(bytes))),
});
