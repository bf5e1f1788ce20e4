/**
 * The door of pkg/log: redaction, and the types of the log. The log itself is in `pino-log.ts`.
 */
export { redactUserinfo, redacted } from "./redact.ts";
export type { Log, LogFields, LogFormat, LogLevel } from "./pino-log.ts";
