/** The whole config of a Spoor process: what `spoor config reference` documents. */
import { z } from "zod";
import { compactorConfig, type CompactorConfig } from "#modules/compactor/config.ts";
import { distributorConfig, type DistributorConfig } from "#modules/distributor/config.ts";
import { frontendConfig, type FrontendConfig } from "#modules/frontend/config.ts";
import { ingesterConfig, type IngesterConfig } from "#modules/ingester/config.ts";
import { querierConfig, type QuerierConfig } from "#modules/querier/config.ts";
import { otlpReceiverConfigSchema, type OtlpReceiverConfig } from "#modules/receivers/config.ts";
import { limitFields, type Limits } from "#pkg/limits/limits.ts";
import type { RenamedKey } from "#pkg/config/renamed-keys.ts";
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

export interface LimitsConfig extends Limits {
  /** Empty: none. */
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
      .describe("How long a stop may take before the process ends all the same"),
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
        "Bearer token of the operator, who gets /admin and, with multi-tenancy, pages about all " +
          "tenants; empty: nobody does",
      )
      .meta({ secret: true }),
    httpPathPrefix: z
      .string()
      .default("")
      .refine((prefix) => prefix === "" || /^(\/[\w.~-]+)+$/.test(prefix), {
        error: "must be like /spoor: parts of letters, digits, _ . ~ -, without a / at its end",
      })
      .describe(
        "Path below which API and pages are, for proxies that keep it; /ready and /metrics are " +
          "there without it, too",
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
      .describe("Share of its own traces that are sent"),
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
      .describe("Least level of log lines"),
    format: z
      .enum(["auto", "text", "json"])
      .default("auto")
      .describe("Form of log lines; auto is text on a terminal and JSON elsewhere"),
    bufferBytesMax: positive
      .default(4 * MIB)
      .describe("Log lines that wait while stderr takes none; beyond it lines are dropped"),
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

const limitsConfig: z.ZodType<LimitsConfig> = z
  .strictObject({
    ...limitFields,
    overridesFile: z
      .string()
      .default("")
      .describe("YAML file with limits of single tenants; empty is none"),
    overridesPollMs: positive
      .max(3_600_000)
      .default(5000)
      .describe("How often the file of overrides is looked at; SIGHUP looks at once"),
  })
  .describe(
    "What each tenant may send and ask; 0 is no limit. The file of overrides has the same keys " +
      "under `tenants.<name>`; a key that it does not set is the one of this section.",
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

/** Old names that config files may use for now. */
export const renamedKeys: readonly RenamedKey[] = [
  ...spanLogKeys.map((key) => ({ from: `log.${key}`, to: `span_log.${key}` })),
  { from: "server.log_level", to: "log.level" },
];
