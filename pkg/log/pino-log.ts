/** Structured logs: a constant message and fields, as one line of JSON or text each (pino). */
import type { Writable } from "node:stream";
import { isatty } from "node:tty";
import { destination, pino, type DestinationStream } from "pino";
import { openLineSink } from "./line-sink.ts";
import { redactUserinfo } from "./redact.ts";

export type LogFields = Record<string, unknown>;

/** The log interface of all modules. `child` adds fields to all of its lines. */
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
  /** Maximum bytes of lines that wait for stderr; beyond it lines are dropped and counted. */
  bufferBytesMax: number;
  /** The stream of stderr, which must have an error listener. */
  stderr: Writable;
  /** Whether text lines are coloured. */
  colors: boolean;
}

export interface ProcessLog {
  log: Log;
  /** Returns the number of lines dropped so far. */
  droppedLines: () => number;
}

const stderrFd = 2;

/** Opens a log of JSON lines on stderr; synchronous, so that a crash loses no line. */
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
  const msg = "log lines were dropped because stderr was blocked";
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

/** Loads the text formatter lazily, because it doubles the code of the logger. */
async function textFormat(colorize: boolean): Promise<(line: string) => string | undefined> {
  const { prettyFactory } = await import("pino-pretty");
  return prettyFactory({ colorize, singleLine: true, translateTime: "SYS:HH:MM:ss" });
}
