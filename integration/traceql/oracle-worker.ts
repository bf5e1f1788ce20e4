/** A share of the data sets, on a thread of its own. */
import { parentPort, workerData } from "node:worker_threads";
import { checkAgainstOracle, type OracleRun } from "#pkg/engine/oracle-check.ts";

parentPort?.postMessage(await checkAgainstOracle(workerData as OracleRun));
