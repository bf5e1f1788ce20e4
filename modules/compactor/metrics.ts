/** Metrics of the compactor. */
import { Counter, Gauge, type Registry } from "prom-client";

export interface CompactorMetrics {
  cycles: Counter<"result">;
  lastSuccess: Gauge;
  removedBlocks: Counter<"reason">;
  deletedObjects: Counter<"reason">;
  deletedBytes: Counter<"reason">;
  checkpoints: Counter;
  deletedCommits: Counter;
  conflicts: Counter;
  errors: Counter<"reason">;
  unknownObjects: Gauge;
}

export function compactorMetrics(registry: Registry): CompactorMetrics {
  const registers = [registry];
  return {
    cycles: new Counter({
      name: "spoor_compactor_cycles_total",
      help: "Cycles over all tenants, by result: ok, or failed for at least one tenant.",
      registers,
      labelNames: ["result"],
    }),
    lastSuccess: new Gauge({
      name: "spoor_compactor_last_success_timestamp_seconds",
      help: "When the last cycle without an error ended, seconds since the epoch.",
      registers,
    }),
    removedBlocks: new Counter({
      name: "spoor_compactor_removed_blocks_total",
      help: "Blocks that a commit took out of their table, by reason.",
      registers,
      labelNames: ["reason"],
    }),
    deletedObjects: new Counter({
      name: "spoor_compactor_deleted_objects_total",
      help: "Objects deleted from the bucket: of removed blocks, or orphans that no commit names.",
      registers,
      labelNames: ["reason"],
    }),
    deletedBytes: new Counter({
      name: "spoor_compactor_deleted_bytes_total",
      help: "Bytes of deleted objects.",
      registers,
      labelNames: ["reason"],
    }),
    checkpoints: new Counter({
      name: "spoor_compactor_checkpoints_total",
      help: "Checkpoints that were written.",
      registers,
    }),
    deletedCommits: new Counter({
      name: "spoor_compactor_deleted_commits_total",
      help: "Commits and checkpoints deleted because a later checkpoint covers them.",
      registers,
    }),
    conflicts: new Counter({
      name: "spoor_compactor_conflicts_total",
      help: "Removals that another writer was faster with; the next cycle looks again.",
      registers,
    }),
    errors: new Counter({
      name: "spoor_compactor_errors_total",
      help: "Failed attempts at a tenant, or at finding the tenants, by reason.",
      registers,
      labelNames: ["reason"],
    }),
    unknownObjects: new Gauge({
      name: "spoor_compactor_unknown_objects",
      help: "Objects below blocks/ whose names are not of Spoor, in the last cycle; never deleted.",
      registers,
    }),
  };
}
