/** The whole config of a Spoor process. `spoor config reference` documents it. */
import { z } from "zod";
import { compactorConfig, type CompactorConfig } from "#modules/compactor/config.ts";
import { distributorConfig, type DistributorConfig } from "#modules/distributor/config.ts";
import { frontendConfig, type FrontendConfig } from "#modules/frontend/config.ts";
import { ingesterConfig, type IngesterConfig } from "#modules/ingester/config.ts";
import { querierConfig, type QuerierConfig } from "#modules/querier/config.ts";
import { otlpReceiverConfigSchema, type OtlpReceiverConfig } from "#modules/receivers/config.ts";
import { limitFields, type Limits } from "#pkg/limits/limits.ts";
import type { RenamedKey } from "#pkg/config/config.ts";
import type { LogFormat, LogLevel } from "#pkg/log/log.ts";
import { storageConfig, type StorageConfig } from "./storage.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

export interface ServerConfig {
  multitenancy: boolean;
  shutdownMs: number;
  dataDir: string;
  adminToken: string;
  httpPathPrefix: string;
  tracingEndpoint: string;
  tracingSampleRatio: number;
  tracingToSelf: boolean;
}

/** The logger, which writes to stderr. */
export interface LogConfig {
  level: LogLevel;
  format: LogFormat;
  bufferBytesMax: number;
}

/** Limits of the span log, see FileLogOptions in pkg/spanlog/file-log.ts. */
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

export interface LimitsConfig extends Limits {
  /** Path of a YAML file; empty: none. */
  overridesFile: string;
  overridesPollMs: number;
}

export interface SpoorConfig {
  server: ServerConfig;
  receivers: OtlpReceiverConfig;
  distributor: DistributorConfig;
  limits: LimitsConfig;
  log: LogConfig;
  spanLog: SpanLogConfig;
  ingester: IngesterConfig;
  querier: QuerierConfig;
  frontend: FrontendConfig;
  compactor: CompactorConfig;
  storage: StorageConfig;
}

function isEmptyOrHttpUrl(text: string): boolean {
  return text === "" || /^https?:$/.test(URL.parse(text)?.protocol ?? "");
}

const positive: z.ZodInt = z.int().positive();

const serverConfig: z.ZodType<ServerConfig> = z
  .strictObject({
    multitenancy: z
      .boolean()
      .default(false)
      .describe("Whether requests must name their tenant in the header X-Scope-OrgID"),
    shutdownMs: positive
      .max(3_600_000)
      .default(30_000)
      .describe("Time after which a stop ends the process, even if it is not complete"),
    dataDir: z
      .string()
      .min(1)
      .default("./data")
      .describe("Folder of the span log and, with storage backend fs, of the blocks"),
    adminToken: z
      .string()
      .default("")
      .refine((token) => /^[\x21-\x7e]*$/.test(token), {
        error: "must be printable ASCII without spaces and line breaks",
      })
      .describe(
        "Bearer token of the operator, for /admin and, with multi-tenancy, for pages about all " +
          "tenants; empty: nobody has access to these",
      )
      .meta({ secret: true }),
    httpPathPrefix: z
      .string()
      .default("")
      .refine((prefix) => prefix === "" || /^(\/[\w.~-]+)+$/.test(prefix), {
        error: "must be like /spoor: parts of letters, digits, _ . ~ -, without a / at its end",
      })
      .describe(
        "Path prefix of API and pages, for proxies that do not strip it; /ready and /metrics are " +
          "also available without it",
      ),
    tracingEndpoint: z
      .string()
      .default("")
      .refine(isEmptyOrHttpUrl, { error: "must be like http://localhost:4318" })
      .describe("OTLP/HTTP endpoint for Spoor's own spans (queries, cuts, commits); empty: none"),
    tracingSampleRatio: z
      .number()
      .min(0)
      .max(1)
      .default(1)
      .describe("Share of Spoor's own traces that are sent, 0 to 1"),
    tracingToSelf: z
      .boolean()
      .default(false)
      .describe("Whether that endpoint may be this process's own receiver"),
  })
  .describe("The process as a whole.");

const logConfig: z.ZodType<LogConfig> = z
  .strictObject({
    level: z
      .enum(["debug", "info", "warn", "error", "silent"])
      .default("info")
      .describe("Lowest level of log lines"),
    format: z
      .enum(["auto", "text", "json"])
      .default("auto")
      .describe("Format of log lines; auto is text on a terminal and JSON elsewhere"),
    bufferBytesMax: positive
      .default(4 * MIB)
      .describe(
        "Most bytes of log lines buffered while stderr blocks; beyond it lines are dropped",
      ),
  })
  .describe("Spoor's own log lines, on stderr.");

const spanLogConfig: z.ZodType<SpanLogConfig> = z
  .strictObject({
    partitionCount: z
      .int()
      .min(1)
      .max(1024)
      .refine((count) => (count & (count - 1)) === 0, { error: "must be a power of two" })
      .default(4)
      .describe("Number of partitions, a power of two; can change only while the log is empty"),
    bytesMax: positive
      .default(8 * GIB)
      .describe("Most bytes of the log on disk; beyond it requests are refused as retryable"),
    segmentBytesMax: positive.default(64 * MIB).describe("Size of one file of the log"),
    freeBytesMin: z
      .int()
      .min(0)
      .default(GIB)
      .describe("Least free disk space; below it requests are refused as retryable"),
    pendingBytesMax: positive
      .default(256 * MIB)
      .describe("Most bytes waiting for a write; beyond it requests are refused as retryable"),
    groupBytesMax: positive.default(8 * MIB).describe("Most bytes of one write to the disk"),
    groupLingerMs: z
      .int()
      .min(0)
      .max(1000)
      .default(5)
      .describe("How long, under load, a write waits for other records to share its fsync"),
    retryWindowMs: positive
      .default(600_000)
      .describe("How long a retry of a request is recognised as a duplicate"),
    retryRecordsMax: positive
      .default(1_048_576)
      .describe("Most records remembered to recognise duplicates, in all partitions together"),
  })
  .describe("The span log: received spans that are in no block yet.");

const limitsConfig: z.ZodType<LimitsConfig> = z
  .strictObject({
    ...limitFields,
    overridesFile: z
      .string()
      .default("")
      .describe("YAML file with limits of single tenants; empty: none"),
    overridesPollMs: positive
      .max(3_600_000)
      .default(5000)
      .describe("How often the overrides file is checked for changes; SIGHUP checks at once"),
  })
  .describe(
    "Limits of each tenant's requests; 0: no limit. The overrides file has the same keys under " +
      "`tenants.<name>`; a key that it does not set has the value of this section.",
  ) as unknown as z.ZodType<LimitsConfig>;

/** Schema of the config file. */
export const spoorConfig: z.ZodType<SpoorConfig> = z.strictObject({
  server: serverConfig,
  receivers: otlpReceiverConfigSchema,
  distributor: distributorConfig,
  limits: limitsConfig,
  log: logConfig,
  spanLog: spanLogConfig,
  ingester: ingesterConfig,
  querier: querierConfig,
  frontend: frontendConfig,
  compactor: compactorConfig,
  storage: storageConfig,
});

const spanLogKeys = [
  "partition_count",
  "bytes_max",
  "segment_bytes_max",
  "free_bytes_min",
  "pending_bytes_max",
  "group_bytes_max",
  "group_linger",
  "retry_window",
  "retry_records_max",
] as const;

/** Old names of keys, accepted with a warning. */
export const renamedKeys: readonly RenamedKey[] = [
  ...spanLogKeys.map((key) => ({ from: `log.${key}`, to: `span_log.${key}` })),
  { from: "server.log_level", to: "log.level" },
];
