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
      help: "End of the last cycle without an error, seconds since the epoch.",
      registers,
    }),
    removedBlocks: new Counter({
      name: "spoor_compactor_removed_blocks_total",
      help: "Blocks removed from their table by a commit, by reason.",
      registers,
      labelNames: ["reason"],
    }),
    deletedObjects: new Counter({
      name: "spoor_compactor_deleted_objects_total",
      help: "Objects deleted from the bucket, of removed blocks or orphans that no commit names.",
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
      help: "Checkpoints written.",
      registers,
    }),
    deletedCommits: new Counter({
      name: "spoor_compactor_deleted_commits_total",
      help: "Commits and checkpoints deleted because a later checkpoint covers them.",
      registers,
    }),
    conflicts: new Counter({
      name: "spoor_compactor_conflicts_total",
      help: "Removals that lost against another writer; the next cycle tries again.",
      registers,
    }),
    errors: new Counter({
      name: "spoor_compactor_errors_total",
      help: "Failed attempts to compact a tenant or to list the tenants, by reason.",
      registers,
      labelNames: ["reason"],
    }),
    unknownObjects: new Gauge({
      name: "spoor_compactor_unknown_objects",
      help: "Objects below blocks/ in the last cycle whose names are not Spoor's; never deleted.",
      registers,
    }),
  };
}
