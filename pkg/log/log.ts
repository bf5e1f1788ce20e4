/** Structured logs: a constant message and fields, one JSON object per line on stderr (pino). */
import { destination, pino } from "pino";

export type LogFields = Record<string, unknown>;

/** What every module is given. `child` binds fields to all later lines. */
export interface Log {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  child(fields: LogFields): Log;
}

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** A log that writes to stderr, synchronously so that a crash loses no line. */
export function openLog(level: LogLevel): Log {
  return pino(
    {
      level,
      base: null,
      formatters: { level: (label) => ({ level: label }) },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
    },
    destination({ fd: 2, sync: true }),
  );
}
