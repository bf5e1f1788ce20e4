/** Metrics of the querier. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";

export interface QuerierMetrics {
  jobs: Counter<"kind" | "outcome">;
  rowGroupFailures: Counter<"kind" | "outcome">;
  jobSeconds: Histogram<"kind">;
  workersReplaced: Counter<"reason">;
  bloomReads: Counter<"outcome">;
  failedBlocks: Counter<"reason">;
  queued: Gauge;
  running: Gauge;
}

/** Registers the metrics of the querier. */
export function querierMetrics(registry: Registry): QuerierMetrics {
  const registers = [registry];
  return {
    jobs: new Counter({
      name: "spoor_querier_jobs_total",
      help: "Jobs over blocks by outcome: ok, or the code of the error",
      labelNames: ["kind", "outcome"],
      registers,
    }),
    rowGroupFailures: new Counter({
      name: "spoor_querier_row_group_failures_total",
      help: "Row groups that could not be read, by error code; a job may read several",
      labelNames: ["kind", "outcome"],
      registers,
    }),
    jobSeconds: new Histogram({
      name: "spoor_querier_job_duration_seconds",
      help: "Time of a job on its thread, without its wait in the queue",
      labelNames: ["kind"],
      buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30],
      registers,
    }),
    workersReplaced: new Counter({
      name: "spoor_querier_workers_replaced_total",
      help: "Worker threads that were ended: panic, timeout, canceled, memory, died",
      labelNames: ["reason"],
      registers,
    }),
    bloomReads: new Counter({
      name: "spoor_querier_bloom_reads_total",
      help: "Look-ups of a bloom filter shard by outcome: cached, read, failed",
      labelNames: ["outcome"],
      registers,
    }),
    failedBlocks: new Counter({
      name: "spoor_querier_failed_blocks_total",
      help: "Blocks whose commit could not be read, each counted once",
      labelNames: ["reason"],
      registers,
    }),
    queued: new Gauge({
      name: "spoor_querier_jobs_queued",
      help: "Jobs waiting for a thread now",
      registers,
    }),
    running: new Gauge({
      name: "spoor_querier_jobs_running",
      help: "Jobs running on a thread now",
      registers,
    }),
  };
}
