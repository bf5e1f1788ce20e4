/**
 * Configuration, declared once: one zod object schema with defaults and descriptions defines the
 * YAML file, the printed config and the reference page. YAML keys are the schema's names in
 * snake_case without their unit, so `cutAgeMs` is `cut_age: 5m`; see config-tree.ts for the rules.
 */
import type { z } from "zod";
import { configTree, type ConfigNode, type ScalarNode, type SectionNode } from "./config-tree.ts";
import { formatDuration } from "./duration.ts";
import type { Environment } from "./interpolate.ts";
import { ConfigError, type ConfigProblem } from "./problems.ts";
import { readNode, scalarFromText, unreadable, type ReadContext } from "./read.ts";
import { moveRenamedKeys, type RenamedKey } from "./renamed-keys.ts";
import { formatSize } from "./size.ts";
import { offsetOf, parseYamlFile, type YamlFile } from "./yaml-file.ts";
import { toSpoorError } from "#pkg/errors/errors.ts";

export interface ConfigSource {
  /** The YAML. Empty text means all defaults. */
  text: string;
  /** Name of the file, for messages. */
  name: string;
  /** Values for `${VAR}`. */
  env: Environment;
  /** Deprecated names that the file may still use. */
  renamed?: readonly RenamedKey[];
  /** Called with a line of text for each deprecated name in the file. */
  warn?: (message: string) => void;
}

/** A value from the command line, which overrides the file. */
export interface ConfigOverride {
  /** Names in the program from the root, e.g. `["receivers", "httpPort"]`. */
  path: readonly string[];
  text: string;
  /** For messages, e.g. `--otlp-http-port`. */
  flag: string;
}

const problemsMax = 1000;

/**
 * Parses a config: flags override the YAML text, which overrides the schema's defaults. Throws
 * ConfigError with all problems.
 */
export function parseConfig<T>(
  schema: z.ZodType<T>,
  source: ConfigSource,
  overrides: readonly ConfigOverride[] = [],
): T {
  const reader = new ConfigReader(configTree(schema), source.name);
  const file = parseYamlFile(source.text, (line, column, message) =>
    reader.report([], { source: source.name, line, column }, message),
  );
  const input = reader.read(file, source);
  for (const override of overrides) reader.override(input, override);
  const parsed = schema.safeParse(input);
  if (!parsed.success) for (const issue of parsed.error.issues) reader.reportIssue(issue);
  reader.throwProblems();
  return parsed.data as T;
}

interface SourcePosition {
  source: string;
  line: number;
  column: number;
}

/** Reads one config, and collects the positions of its values and its problems. */
class ConfigReader {
  readonly #root: SectionNode;
  readonly #fileName: string;
  readonly #positions = new Map<string, SourcePosition>();
  readonly #problems: ConfigProblem[] = [];
  /** Paths with a problem: further problems that zod finds there are left out. */
  readonly #reported = new Set<string>();

  constructor(root: SectionNode, fileName: string) {
    this.#root = root;
    this.#fileName = fileName;
  }

  read(file: YamlFile, { env, renamed = [], warn }: ConfigSource): Record<string, unknown> {
    const positionOf = (offset: number): SourcePosition => ({
      source: this.#fileName,
      ...file.position(offset),
    });
    moveRenamedKeys(file.root, renamed, {
      moved: (key, { from, to }) => {
        const { line, column } = file.position(offsetOf(key));
        warn?.(`${this.#fileName}:${line}:${column}: ${from} is now ${to}: rename the key`);
      },
      clashed: (key, { from, to }) =>
        this.report([from], positionOf(offsetOf(key)), `is the old name of ${to}: set only ${to}`),
    });
    const context: ReadContext = {
      env,
      report: (path, node, message) => this.report(path, positionOf(offsetOf(node)), message),
      seen: (path, node) => this.#positions.set(pathId(path), positionOf(offsetOf(node))),
    };
    const value = readNode(context, this.#root, file.root, []);
    const isNothingRead = file.root === undefined && this.#problems.length > 0;
    if (value === unreadable || isNothingRead) throw new ConfigError(this.#problems);
    return value as Record<string, unknown>;
  }

  override(input: Record<string, unknown>, { path, text, flag }: ConfigOverride): void {
    const position = { source: flag, line: 0, column: 0 };
    let target = input;
    for (const name of path.slice(0, -1)) {
      const next = target[name];
      // The problem in the file is reported already.
      if (typeof next !== "object" || next === null) return;
      target = next as Record<string, unknown>;
    }
    this.#positions.set(pathId(path), position);
    try {
      target[path[path.length - 1]] = scalarFromText(this.#scalarAt(path), text);
    } catch (error) {
      this.report(path, position, toSpoorError(error).message);
      target[path[path.length - 1]] = unreadable;
    }
  }

  reportIssue(issue: z.core.$ZodIssue): void {
    const path = issue.path.map(String);
    for (let length = path.length; length > 0; length--) {
      if (this.#reported.has(pathId(path.slice(0, length)))) return;
    }
    this.report(path, this.#positionNear(path), issueText(issue, nodeAt(this.#root, path)));
  }

  report(path: readonly string[], position: SourcePosition, message: string): void {
    this.#reported.add(pathId(path));
    if (this.#problems.length >= problemsMax) return;
    // The source of a flag is its name. One flag may set several keys, so it is reported once.
    const isFlag = position.line === 0 && position.source !== this.#fileName;
    const problem = { path: isFlag ? "" : yamlPath(this.#root, path), ...position, message };
    const isDuplicate = this.#problems.some((other) => isFlag && isSame(other, problem));
    if (!isDuplicate) this.#problems.push(problem);
  }

  throwProblems(): void {
    if (this.#problems.length === 0) return;
    this.#problems.sort((a, b) => a.line - b.line || a.column - b.column);
    throw new ConfigError(this.#problems);
  }

  #scalarAt(path: readonly string[]): ScalarNode {
    const node = nodeAt(this.#root, path);
    if (node?.kind !== "scalar") throw new TypeError(`no scalar at ${path.join(".")}`);
    return node;
  }

  /** Returns the position of the path, or of the nearest section around it. */
  #positionNear(path: readonly string[]): SourcePosition {
    for (let length = path.length; length > 0; length--) {
      const position = this.#positions.get(pathId(path.slice(0, length)));
      if (position !== undefined) return position;
    }
    return { source: this.#fileName, line: 0, column: 0 };
  }
}

function isSame(a: ConfigProblem, b: ConfigProblem): boolean {
  return a.source === b.source && a.message === b.message;
}

function pathId(path: readonly string[]): string {
  return path.join("\u0000");
}

function child(node: ConfigNode | undefined, name: string): ConfigNode | undefined {
  if (node?.kind === "section") return node.fields.find((field) => field.name === name)?.node;
  if (node?.kind === "map") return node.value;
  if (node?.kind === "list") return node.item;
  return undefined;
}

function nodeAt(root: ConfigNode, path: readonly string[]): ConfigNode | undefined {
  let node: ConfigNode | undefined = root;
  for (const name of path) node = child(node, name);
  return node;
}

/** Returns a path in YAML's names. */
function yamlPath(root: ConfigNode, path: readonly string[]): string {
  let node: ConfigNode | undefined = root;
  const keys: string[] = [];
  for (const name of path) {
    const field = node?.kind === "section" ? node.fields.find((f) => f.name === name) : undefined;
    keys.push(field?.key ?? name);
    node = child(node, name);
  }
  return keys.join(".");
}

/** Returns the text of a problem that zod found, in terms of the config file. */
function issueText(issue: z.core.$ZodIssue, node: ConfigNode | undefined): string {
  if (issue.code === "too_small") {
    const than = issue.inclusive === false ? "must be more than" : "must be at least";
    return `${than} ${boundText(Number(issue.minimum), issue.origin, node)}`;
  }
  if (issue.code === "too_big") {
    const than = issue.inclusive === false ? "must be less than" : "must be at most";
    return `${than} ${boundText(Number(issue.maximum), issue.origin, node)}`;
  }
  if (issue.code === "invalid_type" && issue.input === undefined) return "is required";
  return issue.message;
}

function boundText(bound: number, origin: string, node: ConfigNode | undefined): string {
  if (origin === "string") return `${String(bound)} characters long`;
  if (origin === "array") return `${String(bound)} entries long`;
  return node?.kind === "scalar" ? formatNumber(node, bound) : String(bound);
}

/** Formats a number with the unit that its key has in YAML. */
export function formatNumber(node: ScalarNode, value: number): string {
  if (!Number.isSafeInteger(value) || value < 0) return String(value);
  if (node.type === "duration") return formatDuration(value);
  return node.type === "size" ? formatSize(value) : String(value);
}
