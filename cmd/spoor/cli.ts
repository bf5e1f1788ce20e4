/**
 * The command line: finds and runs the command, and prints errors as `spoor: ...`.
 * Exit codes: 0 success; 1 failure; 2 the command line or the config is wrong.
 */
import { didYouMean } from "#pkg/config/nearest.ts";
import { ConfigError } from "#pkg/config/problems.ts";
import { toSpoorError, wrongUsage } from "#pkg/errors/errors.ts";
import { redactUserinfo } from "#pkg/log/log.ts";
import { version } from "#pkg/version/version.ts";
import { helpText, usageError, type CommandHelp } from "./flags.ts";
import type { CommandIo } from "./io.ts";

export type Command = (args: string[], io: CommandIo) => Promise<number>;

interface CommandRow {
  name: string;
  summary: string;
  /** Loads the command's code when it runs: `spoor version` needs no database. */
  load: () => Promise<Command>;
  help?: () => Promise<CommandHelp>;
}

const tagSummaries = {
  services: "list the names of services",
  tags: "list the names of attributes",
  values: "list the values of an attribute",
} as const;

const commands: readonly CommandRow[] = [
  {
    name: "serve",
    summary: "receive and store spans, answer queries",
    load: async () => (await import("#cmd/spoor/commands/serve.ts")).serveCommand,
    help: async () => (await import("./serve-args.ts")).serveHelp,
  },
  {
    name: "trace",
    summary: "show a trace as a tree",
    load: async () => (await import("#cmd/spoor/commands/trace.ts")).traceCommand,
    help: async () => (await import("#cmd/spoor/commands/trace.ts")).traceHelp,
  },
  {
    name: "query",
    summary: "find traces with TraceQL",
    load: async () => (await import("#cmd/spoor/commands/query.ts")).queryCommand,
    help: async () => (await import("#cmd/spoor/commands/query.ts")).queryHelp,
  },
  ...(["services", "tags", "values"] as const).map((name): CommandRow => ({
    name,
    summary: tagSummaries[name],
    load: async () => (await import("#cmd/spoor/commands/tags.ts"))[`${name}Command`],
    help: async () => (await import("#cmd/spoor/commands/tags.ts"))[`${name}Help`],
  })),
  {
    name: "block",
    summary: "inspect a block file",
    load: async () => (await import("#cmd/spoor/commands/block.ts")).blockCommand,
    help: async () => (await import("#cmd/spoor/commands/block.ts")).blockHelp,
  },
  {
    name: "sql",
    summary: "print SQL for reading the stored spans with DuckDB",
    load: async () => (await import("#cmd/spoor/commands/sql.ts")).sqlCommand,
    help: async () => (await import("#cmd/spoor/commands/sql.ts")).sqlHelp,
  },
  {
    name: "quarantine",
    summary: "list and put back spans that could not become blocks",
    load: async () => (await import("#cmd/spoor/commands/quarantine.ts")).quarantineCommand,
    help: async () => (await import("#cmd/spoor/commands/quarantine.ts")).quarantineHelp,
  },
  {
    name: "load",
    summary: "load a server with generated traffic",
    load: async () => (await import("#cmd/spoor/commands/load.ts")).loadCommand,
    help: async () => (await import("#cmd/spoor/commands/load.ts")).loadHelp,
  },
  {
    name: "verify",
    summary: "write known traces and read them back, continuously",
    load: async () => (await import("#cmd/spoor/commands/verify.ts")).verifyCommand,
    help: async () => (await import("#cmd/spoor/commands/verify.ts")).verifyHelp,
  },
  {
    name: "config",
    summary: "print, check or document the config",
    load: async () => (await import("#cmd/spoor/commands/config.ts")).configCommand,
    help: async () => (await import("#cmd/spoor/commands/config.ts")).configHelp,
  },
  { name: "version", summary: "print the version", load: async () => versionCommand },
  { name: "help", summary: "show this text, or a command's help", load: async () => helpCommand },
];

/** Runs one command. Resolves to the exit code and never rejects. */
export async function runCli(args: readonly string[], io: CommandIo): Promise<number> {
  try {
    return await dispatch(args, io);
  } catch (error) {
    return reportError(error, args, io);
  }
}

async function dispatch(args: readonly string[], io: CommandIo): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined) {
    io.err(overview());
    return 2;
  }
  if (name === "--help" || name === "-h") return await helpCommand([], io);
  if (name === "--version" || name === "-v") return await versionCommand([], io);
  const command = findCommand(name);
  if (command.help !== undefined && asksForHelp(rest)) return await helpCommand([name], io);
  const run = await command.load();
  return await run(rest, io);
}

function findCommand(name: string): CommandRow {
  const command = commands.find((other) => other.name === name);
  if (command !== undefined) return command;
  const names = commands.map((other) => other.name);
  throw usageError(
    `unknown command ${JSON.stringify(name)}${didYouMean(name, names)} (spoor help lists them)`,
  );
}

function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  const flags = end < 0 ? args : args.slice(0, end);
  return flags.includes("--help") || flags.includes("-h");
}

function overview(): string {
  const width = commands.reduce((most, { name }) => Math.max(most, name.length), 0);
  const lines = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return (
    `Spoor ${version}: a tracing backend whose only database is a bucket\n\n` +
    `usage: spoor COMMAND [flags]\n\ncommands:\n${lines.join("\n")}\n\n` +
    "`spoor COMMAND --help` shows its flags. " +
    "Exit codes: 0 success, 1 failure, 2 wrong arguments or config.\n"
  );
}

async function helpCommand(args: string[], io: CommandIo): Promise<number> {
  const [name] = args;
  if (name === undefined) {
    await io.out(overview());
    return 0;
  }
  const command = findCommand(name);
  if (command.help === undefined) {
    await io.out(`usage: spoor ${name}: ${command.summary}\n`);
    return 0;
  }
  await io.out(helpText(await command.help()));
  return 0;
}

async function versionCommand(_args: string[], io: CommandIo): Promise<number> {
  await io.out(`spoor ${version} (node ${process.version}, ${process.platform} ${process.arch})\n`);
  return 0;
}

function reportError(thrown: unknown, args: readonly string[], io: CommandIo): number {
  const error = toSpoorError(thrown);
  const message = redactUserinfo(error.message);
  const lines = message.split("\n").map((line) => `spoor: ${line}\n`);
  io.err(lines.join(""));
  if (isDebug(args)) io.err(stackText(thrown));
  return error.reason === wrongUsage || error instanceof ConfigError ? 2 : 1;
}

function isDebug(args: readonly string[]): boolean {
  return args.some(
    (arg, i) => arg === "--log-level=debug" || (arg === "--log-level" && args[i + 1] === "debug"),
  );
}

/** Returns the stacks of an error and of its causes, at most eight. */
function stackText(thrown: unknown): string {
  let text = "";
  let error = thrown;
  for (let depth = 0; depth < 8 && error instanceof Error; depth++) {
    text += `${depth === 0 ? "" : "caused by "}${error.stack ?? String(error)}\n`;
    error = error.cause;
  }
  return text;
}
