/** Structured logs: a constant message and fields, one JSON object or one text line each (pino). */
import type { Writable } from "node:stream";
import { isatty } from "node:tty";
import { destination, pino, type DestinationStream } from "pino";
import { openLineSink } from "./line-sink.ts";
import { redactUserinfo } from "./redact.ts";

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

/** `auto` is text on a terminal and JSON elsewhere. */
export type LogFormat = "auto" | "text" | "json";

export interface ProcessLogOptions {
  level: LogLevel;
  format: LogFormat;
  /** Bytes of lines that wait while stderr takes none; beyond it lines are dropped and counted. */
  bufferBytesMax: number;
  /** The stream of stderr, which must have a listener for errors. */
  stderr: Writable;
  /** Whether text has colours. */
  colors: boolean;
}

export interface ProcessLog {
  log: Log;
  /** Lines dropped so far because stderr took none. */
  droppedLines: () => number;
}

const stderrFd = 2;

/** A log that writes JSON lines to stderr, synchronously so that a crash loses no line. */
export function openLog(level: LogLevel): Log {
  return pinoLog(level, destination({ fd: stderrFd, sync: true }));
}

/** Opens the log of a server: a reader of stderr that stops reading never blocks the process. */
export async function openProcessLog(options: ProcessLogOptions): Promise<ProcessLog> {
  const isText = options.format === "auto" ? isatty(stderrFd) : options.format === "text";
  const format = isText ? await textFormat(options.colors) : undefined;
  const sink = openLineSink(stderrFd, options.stderr, {
    bytesMax: options.bufferBytesMax,
    droppedLine: (count) => {
      const line = droppedLine(count);
      return format?.(line) ?? line;
    },
  });
  const write = (line: string): void => {
    const safe = redactUserinfo(line);
    sink.write(format?.(safe) ?? safe);
  };
  return { log: pinoLog(options.level, { write }), droppedLines: () => sink.droppedLines };
}

function droppedLine(count: number): string {
  const time = new Date().toISOString();
  const msg = "log lines were dropped while stderr took none";
  return `${JSON.stringify({ level: "warn", time, droppedLines: count, msg })}\n`;
}

function pinoLog(level: LogLevel, stream: DestinationStream): Log {
  const options = {
    level,
    base: null,
    formatters: { level: (label: string) => ({ level: label }) },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
  };
  return pino(options, stream);
}

/** Loaded only where text is wanted: it doubles what a start loads of the logger. */
async function textFormat(colorize: boolean): Promise<(line: string) => string | undefined> {
  const { prettyFactory } = await import("pino-pretty");
  return prettyFactory({ colorize, singleLine: true, translateTime: "SYS:HH:MM:ss" });
}
