/**
 * Worker thread that encodes and decodes the Parquet file of one checkpoint; see checkpoint.ts. The
 * Parquet reader may panic here, which ends the thread.
 */
import { parentPort } from "node:worker_threads";
import { Rpc, runInBackground } from "#pkg/threads/threads.ts";
import { checkpointHandlers } from "./checkpoint-handlers.ts";

runInBackground();
void new Rpc(parentPort!, checkpointHandlers());
