/** Command-line flags: `--name value`, `--name=value`, `--name`. Unknown ones are refused. */
import { didYouMean } from "#pkg/config/nearest.ts";
import { SpoorError } from "#pkg/errors/errors.ts";

export interface FlagSpec {
  /** With its dashes, e.g. `--data-dir`. */
  name: string;
  /** Another name of one letter, e.g. `-v`. */
  short?: string;
  /** What stands for the value in the help, e.g. `DIR`; a flag without one is on or off. */
  value?: string;
  help: string;
}

export interface CommandHelp {
  /** E.g. `spoor trace ID [flags]`. */
  usage: string;
  about: string;
  flags: readonly FlagSpec[];
  /** More to know, after the flags. */
  notes?: string;
}

export interface ParsedArgs {
  /** The last value of each flag that was given; `true` for one without value. */
  flags: ReadonlyMap<string, string | true>;
  positionals: string[];
}

/** Flags that every command takes. */
const commonFlags: readonly FlagSpec[] = [
  { name: "--help", help: "show this text" },
  { name: "--log-level", value: "LEVEL", help: "debug also shows where an error came from" },
];

/** Flags and the rest of the arguments; after `--` nothing is a flag. Throws a usage error. */
export function parseArgs(args: readonly string[], flags: readonly FlagSpec[]): ParsedArgs {
  const known = withCommonFlags(flags);
  const parsed = new Map<string, string | true>();
  const positionals: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    if (arg === "--") {
      for (const rest of args.slice(i + 1)) positionals.push(rest);
      break;
    }
    if (!arg.startsWith("-") || arg === "-") {
      positionals.push(arg);
      continue;
    }
    const equalsAt = arg.indexOf("=");
    const name = equalsAt < 0 ? arg : arg.slice(0, equalsAt);
    const flag = known.find((other) => other.name === name || other.short === name);
    if (flag === undefined) {
      const names = known.map((other) => other.name);
      throw usageError(`unknown flag ${name}${didYouMean(name, names)}`);
    }
    if (flag.value === undefined) {
      if (equalsAt >= 0) throw usageError(`${name} takes no value`);
      parsed.set(flag.name, true);
      continue;
    }
    const value = equalsAt < 0 ? args[++i] : arg.slice(equalsAt + 1);
    if (value === undefined || value === "" || (equalsAt < 0 && value.startsWith("--"))) {
      throw usageError(`${name} needs a value: ${name} ${flag.value}`);
    }
    parsed.set(flag.name, value);
  }
  return { flags: parsed, positionals };
}

/** The text of a flag with a value; undefined if it was not given. */
export function flagText(args: ParsedArgs, name: string): string | undefined {
  const value = args.flags.get(name);
  return typeof value === "string" ? value : undefined;
}

/** The command line is wrong: exit code 2. */
export function usageError(message: string): SpoorError {
  return new SpoorError("InvalidInput", message, { reason: "usage" });
}

/** The text of `--help`. */
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
