/** Entry point of a partition's worker thread. */
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "#pkg/clock/clock.ts";
import { runInBackground } from "#pkg/threads/threads.ts";
import type { PartitionWorkerData } from "./messages.ts";
import { PartitionLoop } from "./partition-loop.ts";

const data = workerData as PartitionWorkerData;

runInBackground();
await new PartitionLoop(data, { port: parentPort!, clock: systemClock }).run();
