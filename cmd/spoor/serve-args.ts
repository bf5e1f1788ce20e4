/** The arguments of `spoor serve`: a config file, and flags that override it. */
import {
  type ConfigOverride,
  type Environment,
  parseConfig,
  printConfig,
} from "#pkg/config/config.ts";
import { renamedKeys, spoorConfig, type SpoorConfig } from "./config.ts";
import {
  flagText,
  parseArgs,
  usageError,
  type CommandHelp,
  type FlagSpec,
  type ParsedArgs,
} from "./flags.ts";
import { isTarget, type Target } from "./targets.ts";

export interface LoadedConfig {
  config: SpoorConfig;
  /** The effective config as YAML, secrets redacted. */
  configText: string;
  /** Path as given; undefined without a file. */
  configFile: string | undefined;
  /** One line per old key name in the file. */
  warnings: readonly string[];
}

export interface ServeArgs extends LoadedConfig {
  target: Target;
}

interface OverrideFlag extends FlagSpec {
  /** The config keys that the flag sets, in the program's names. */
  paths: readonly (readonly string[])[];
}

const overrideFlags: readonly OverrideFlag[] = [
  {
    name: "--data-dir",
    value: "DIR",
    help: "folder for all stored data (default ./data)",
    paths: [["server", "dataDir"]],
  },
  {
    name: "--host",
    value: "ADDRESS",
    help: "address to listen on (default 127.0.0.1; 0.0.0.0 for all)",
    paths: [
      ["frontend", "host"],
      ["receivers", "host"],
    ],
  },
  {
    name: "--http-port",
    value: "PORT",
    help: "port of the query API (default 3200)",
    paths: [["frontend", "port"]],
  },
  {
    name: "--otlp-http-port",
    value: "PORT",
    help: "port for OTLP over HTTP (default 4318)",
    paths: [["receivers", "httpPort"]],
  },
  {
    name: "--otlp-grpc-port",
    value: "PORT",
    help: "port for OTLP over gRPC (default 4317)",
    paths: [["receivers", "grpcPort"]],
  },
  {
    name: "--log-level",
    value: "LEVEL",
    help: "debug, info, warn, error or silent (default info)",
    paths: [["log", "level"]],
  },
  {
    name: "--log-format",
    value: "FORMAT",
    help: "text, json or auto: text on a terminal (default auto)",
    paths: [["log", "format"]],
  },
];

/** Flags of all commands with a config. */
export const configFlags: readonly FlagSpec[] = [
  { name: "--config", value: "FILE", help: "config file (YAML); flags override it" },
  ...overrideFlags,
];

export const serveHelp: CommandHelp = {
  usage: "spoor serve [flags]",
  about: "Receives and stores spans and answers queries, until SIGTERM or SIGINT.",
  flags: [
    ...configFlags,
    { name: "--target", value: "MODULES", help: "modules to run; only `all` for now (default)" },
  ],
  notes:
    "Port 0 means any free port. `spoor config print` shows the effective config of a file and\n" +
    "flags, `spoor config reference` describes every key.",
};

/**
 * Parses the arguments of `spoor serve`. Throws a usage error, ConfigError with all errors of the
 * file and the flags, or what `readFile` throws.
 */
export function parseServeArgs(
  args: readonly string[],
  env: Environment,
  readFile: (path: string) => string,
): ServeArgs {
  const parsed = parseArgs(args, serveHelp.flags);
  if (parsed.positionals.length > 0) {
    throw usageError(`unexpected argument ${JSON.stringify(parsed.positionals[0])}`);
  }
  const target = flagText(parsed, "--target") ?? "all";
  if (!isTarget(target)) {
    throw usageError(
      `--target ${target} is not possible: this version runs all modules in one process, ` +
        "omit the flag or use --target all",
    );
  }
  return { ...loadConfig(parsed, env, readFile), target };
}

/** Loads the config of a file and flags. Throws ConfigError, or what `readFile` throws. */
export function loadConfig(
  parsed: ParsedArgs,
  env: Environment,
  readFile: (path: string) => string,
): LoadedConfig {
  const overrides: ConfigOverride[] = [];
  for (const { name, paths } of overrideFlags) {
    const text = flagText(parsed, name);
    if (text === undefined) continue;
    for (const path of paths) overrides.push({ path, text, flag: name });
  }
  const configFile = flagText(parsed, "--config");
  const text = configFile === undefined ? "" : readFile(configFile);
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const source = { text, name: configFile ?? "config", env, renamed: renamedKeys, warn };
  const config = parseConfig(spoorConfig, source, overrides);
  return { config, configText: printConfig(spoorConfig, config), configFile, warnings };
}
