/** A seeded random configuration of Spoor with small limits, so that a run reaches all of them. */
import type { ModulesConfig } from "#cmd/spoor/shared-parts.ts";
import { compactorConfig } from "#modules/compactor/config.ts";
import { distributorConfig } from "#modules/distributor/config.ts";
import { frontendConfig } from "#modules/frontend/config.ts";
import { ingesterConfig } from "#modules/ingester/config.ts";
import { querierConfig } from "#modules/querier/config.ts";
import { otlpReceiverConfigSchema } from "#modules/receivers/config.ts";
import type { Dice } from "./dice.ts";

export interface Settings extends ModulesConfig {
  log: { partitionCount: number; segmentBytesMax: number; bytesMax: number };
  /** Delay of a partition after new log records, and its poll interval without new ones. */
  pollMs: number;
  idlePollMs: number;
}

const minute = 60_000;
const hour: number = 60 * minute;
const KIB = 1024;
/** Value for real timers, which must not fire during a simulation. */
const never: number = 12 * hour;

/** Chooses settings. By default the retention is longer than any simulation. */
export function chooseSettings(dice: Dice, retentionMs: number = 1000 * 24 * hour): Settings {
  return {
    ingester: ingesterConfig.parse({
      cutSpans: dice.magnitude(200, 3000),
      cutAgeMs: dice.magnitude(2 * minute, 30 * minute),
      rowGroupSpans: dice.magnitude(100, 3000),
      // An empty head takes about 60 KiB.
      headBytesMax: dice.magnitude(4 * 1024 * KIB, 64 * 1024 * KIB),
      closedHeadsMax: dice.between(1, 3),
      readBytes: dice.magnitude(2 * KIB, 512 * KIB),
      cutThreads: dice.between(1, 2),
      cutIdleMs: never,
    }),
    compactor: compactorConfig.parse({
      intervalMs: dice.magnitude(3 * minute, 15 * minute),
      blockRetentionMs: retentionMs,
      deleteGraceMs: dice.magnitude(10 * minute, hour),
      orphanAgeMs: dice.magnitude(hour, 4 * hour),
      checkpointCommits: dice.magnitude(3, 60),
      logAgeMs: dice.magnitude(hour, 4 * hour),
      listedPerCycle: dice.magnitude(100, 2000),
    }),
    querier: querierConfig.parse({
      snapshotAgeMaxMs: dice.between(0, 5000),
      openBlocksMax: dice.magnitude(2, 64),
      jobTimeoutMs: never,
    }),
    frontend: frontendConfig.parse({ queryTimeoutMs: never, concurrency: dice.magnitude(1, 16) }),
    distributor: distributorConfig.parse({}),
    receivers: otlpReceiverConfigSchema.parse({}),
    server: { multitenancy: true, adminToken: "", httpPathPrefix: "" },
    log: {
      partitionCount: 4,
      segmentBytesMax: dice.magnitude(8 * KIB, 256 * KIB),
      bytesMax: dice.magnitude(512 * KIB, 8 * 1024 * KIB),
    },
    pollMs: dice.magnitude(50, 2000),
    idlePollMs: dice.magnitude(2000, 20_000),
  };
}
