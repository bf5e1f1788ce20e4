/**
 * The door of pkg/spanlog: the span log and its consumers.
 */
export type { LogParts } from "./file-log.ts";
export { type LogConfig, openSpanLog, openSpanLogReader } from "./log-config.ts";
export { requestKey } from "./retry-memory.ts";
export type {
  AppendOptions,
  ConsumerState,
  LogProducer,
  LogReader,
  LogRecord,
  SpanLog,
  SpanLogStats,
} from "./span-log.ts";
