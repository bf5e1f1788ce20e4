/** Command-line flags: `--name value`, `--name=value`, `--name`. Unknown ones are refused. */
import { parseArgs as readArgs } from "node:util";
import { didYouMean } from "#pkg/config/nearest.ts";
import { SpoorError } from "#pkg/errors/errors.ts";

export interface FlagSpec {
  /** Name with its dashes, e.g. `--data-dir`. */
  name: string;
  /** Another name of one letter, e.g. `-v`. */
  short?: string;
  /** Placeholder of the value in the help, e.g. `DIR`; a flag without one is on or off. */
  value?: string;
  help: string;
}

export interface CommandHelp {
  /** E.g. `spoor trace ID [flags]`. */
  usage: string;
  about: string;
  flags: readonly FlagSpec[];
  /** Text after the flags. */
  notes?: string;
}

export interface ParsedArgs {
  /** The last value of each flag that was given; `true` for one without value. */
  flags: ReadonlyMap<string, string | true>;
  positionals: string[];
}

/** Flags of every command. */
const commonFlags: readonly FlagSpec[] = [
  { name: "--help", help: "show this text" },
  { name: "--log-level", value: "LEVEL", help: "debug also shows where an error came from" },
];

/** Parses flags and positional arguments. After `--` nothing is a flag. Throws a usage error. */
export function parseArgs(args: readonly string[], flags: readonly FlagSpec[]): ParsedArgs {
  const known = withCommonFlags(flags);
  const options = Object.fromEntries(known.map((flag) => [flag.name.slice(2), optionOf(flag)]));
  // Not strict: our own errors suggest the intended flag.
  const { tokens } = readArgs({ args: [...args], options, strict: false, tokens: true });
  const parsed = new Map<string, string | true>();
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const { rawName, value, inlineValue } = token;
    const flag = known.find(({ name }) => name === `--${token.name}`);
    if (flag === undefined) {
      const names = known.map(({ name }) => name);
      throw usageError(`unknown flag ${rawName}${didYouMean(rawName, names)}`);
    }
    if (flag.value === undefined) {
      if (value !== undefined) throw usageError(`${rawName} takes no value`);
      parsed.set(flag.name, true);
    } else if (!value || (!inlineValue && value.startsWith("--"))) {
      throw usageError(`${rawName} needs a value: ${rawName} ${flag.value}`);
    } else parsed.set(flag.name, value);
  }
  return { flags: parsed, positionals };
}

function optionOf({ value, short }: FlagSpec): { type: "string" | "boolean"; short?: string } {
  const type = value === undefined ? "boolean" : "string";
  return short === undefined ? { type } : { type, short: short.slice(1) };
}

/** Returns the value of a flag; undefined if it was not given. */
export function flagText(args: ParsedArgs, name: string): string | undefined {
  const value = args.flags.get(name);
  return typeof value === "string" ? value : undefined;
}

/** Returns the error for a wrong command line, which has exit code 2. */
export function usageError(message: string): SpoorError {
  return new SpoorError("InvalidInput", message, { reason: "usage" });
}

/** Formats the text of `--help`. */
export function helpText(help: CommandHelp): string {
  const rows = withCommonFlags(help.flags).map(({ name, short, value, help }) => [
    (short === undefined ? "" : `${short}, `) + (value === undefined ? name : `${name} ${value}`),
    help,
  ]);
  const width = rows.reduce((most, [left]) => Math.max(most, left.length), 0);
  const lines = rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
  const notes = help.notes === undefined ? "" : `\n${help.notes}\n`;
  return `usage: ${help.usage}\n\n${help.about}\n\nflags:\n${lines.join("\n")}\n${notes}`;
}

function withCommonFlags(flags: readonly FlagSpec[]): FlagSpec[] {
  const own = new Set(flags.map(({ name }) => name));
  return [...flags, ...commonFlags.filter(({ name }) => !own.has(name))];
}
