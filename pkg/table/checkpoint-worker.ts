/**
 * Worker thread that encodes and decodes the Parquet file of one checkpoint; see checkpoint.ts. The
 * Parquet reader may panic here, which ends the thread.
 */
import { parentPort } from "node:worker_threads";
import { Rpc } from "#pkg/threads/calls.ts";
import { runInBackground } from "#pkg/threads/background.ts";
import { checkpointHandlers } from "./checkpoint-handlers.ts";

runInBackground();
void new Rpc(parentPort!, checkpointHandlers());
