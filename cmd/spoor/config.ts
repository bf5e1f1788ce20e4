/** The whole config of a Spoor process: what `spoor config reference` documents. */
import { z } from "zod";
import { compactorConfig, type CompactorConfig } from "#modules/compactor/config.ts";
import { distributorConfig, type DistributorConfig } from "#modules/distributor/config.ts";
import { frontendConfig, type FrontendConfig } from "#modules/frontend/config.ts";
import { ingesterConfig, type IngesterConfig } from "#modules/ingester/config.ts";
import { querierConfig, type QuerierConfig } from "#modules/querier/config.ts";
import { otlpReceiverConfigSchema, type OtlpReceiverConfig } from "#modules/receivers/config.ts";
import type { LogLevel } from "#pkg/log/log.ts";
import { storageConfig, type StorageConfig } from "./storage.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

export interface ServerConfig {
  multitenancy: boolean;
  logLevel: LogLevel;
  shutdownMs: number;
  dataDir: string;
}

/** Bounds of the span log, see FileLogOptions in pkg/spanlog/file-log.ts. */
export interface SpanLogConfig {
  partitionCount: number;
  bytesMax: number;
  segmentBytesMax: number;
  freeBytesMin: number;
  pendingBytesMax: number;
  groupBytesMax: number;
  groupLingerMs: number;
  retryWindowMs: number;
  retryRecordsMax: number;
}

export interface SpoorConfig {
  server: ServerConfig;
  receivers: OtlpReceiverConfig;
  distributor: DistributorConfig;
  log: SpanLogConfig;
  ingester: IngesterConfig;
  querier: QuerierConfig;
  frontend: FrontendConfig;
  compactor: CompactorConfig;
  storage: StorageConfig;
}

const positive: z.ZodInt = z.int().positive();

const serverConfig: z.ZodType<ServerConfig> = z
  .strictObject({
    multitenancy: z
      .boolean()
      .default(false)
      .describe("Whether requests must name their tenant in the header X-Scope-OrgID"),
    logLevel: z
      .enum(["debug", "info", "warn", "error", "silent"])
      .default("info")
      .describe("Least level of log lines on stderr"),
    shutdownMs: positive
      .max(3_600_000)
      .default(30_000)
      .describe("How long a stop may take before the process ends all the same"),
    dataDir: z
      .string()
      .min(1)
      .default("./data")
      .describe("Folder of the span log and, with storage backend fs, of the blocks"),
  })
  .describe("The process as a whole.");

const spanLogConfig: z.ZodType<SpanLogConfig> = z
  .strictObject({
    partitionCount: z
      .int()
      .min(1)
      .max(1024)
      .refine((count) => (count & (count - 1)) === 0, { error: "must be a power of two" })
      .default(4)
      .describe("Number of partitions, a power of two; changed only while the log is empty"),
    bytesMax: positive
      .default(8 * GIB)
      .describe("Size of the log on disk; beyond it clients are told to retry"),
    segmentBytesMax: positive.default(64 * MIB).describe("Size of one file of the log"),
    freeBytesMin: z
      .int()
      .min(0)
      .default(GIB)
      .describe("Free disk space below which clients are told to retry"),
    pendingBytesMax: positive
      .default(256 * MIB)
      .describe("Bytes that wait in memory to be written; beyond it clients are told to retry"),
    groupBytesMax: positive.default(8 * MIB).describe("Bytes of one write to the disk"),
    groupLingerMs: z
      .int()
      .min(0)
      .max(1000)
      .default(5)
      .describe("How long, under load, a write waits for others to share its fsync"),
    retryWindowMs: positive
      .default(600_000)
      .describe("How long a request that is sent again is recognised"),
    retryRecordsMax: positive
      .default(1_048_576)
      .describe("Records remembered for that, over all partitions"),
  })
  .describe("The span log: what was received and is not in a block yet.");

/** Schema of the config file. */
export const spoorConfig: z.ZodType<SpoorConfig> = z.strictObject({
  server: serverConfig,
  receivers: otlpReceiverConfigSchema,
  distributor: distributorConfig,
  log: spanLogConfig,
  ingester: ingesterConfig,
  querier: querierConfig,
  frontend: frontendConfig,
  compactor: compactorConfig,
  storage: storageConfig,
});
