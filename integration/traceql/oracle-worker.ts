/** A share of the data sets, on a thread of its own. */
import { parentPort, workerData } from "node:worker_threads";
import { checkSearches } from "#pkg/query/testing/search-oracle.ts";
import { checkAgainstOracle, type OracleRun } from "#pkg/engine/testing/oracle-check.ts";

export interface OracleTask {
  what: "filters" | "searches";
  run: OracleRun;
}

const { what, run } = workerData as OracleTask;
parentPort?.postMessage(await (what === "filters" ? checkAgainstOracle(run) : checkSearches(run)));
