/** Worker thread: parses a large overrides file, which would block the event loop. */
import { parentPort, workerData } from "node:worker_threads";
import { errorToData } from "#pkg/errors/errors.ts";
import { type OverridesSource, parseOverrides } from "./overrides-file.ts";

try {
  parentPort!.postMessage({ overrides: parseOverrides(workerData as OverridesSource) });
} catch (error) {
  parentPort!.postMessage({ error: errorToData(error) });
}
