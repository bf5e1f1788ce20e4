/**
 * Config, declared once: a zod object schema with defaults and descriptions is the YAML file's
 * form, the printed config and the reference page. Keys are the schema's names in snake_case
 * without their unit, so `cutAgeMs` is `cut_age: 5m`; see config-tree.ts for the rules.
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
  /** The YAML. Empty text is all defaults. */
  text: string;
  /** Name of the file, for messages. */
  name: string;
  /** Where `${VAR}` comes from. */
  env: Environment;
  /** Old names that the file may use for now. */
  renamed?: readonly RenamedKey[];
  /** Called with a line of text for each old name that the file uses. */
  warn?: (message: string) => void;
}

/** A value from the command line, which wins over the file. */
export interface ConfigOverride {
  /** Names in the program from the root, e.g. `["receivers", "httpPort"]`. */
  path: readonly string[];
  text: string;
  /** For messages, e.g. `--otlp-http-port`. */
  flag: string;
}

const problemsMax = 1000;

/**
 * The config of a YAML text with flags over it and the schema's defaults below. Throws ConfigError
 * with everything that is wrong.
 */
export function parseConfig<T>(
  schema: z.ZodType<T>,
  source: ConfigSource,
  overrides: readonly ConfigOverride[] = [],
): T {
  const reading = new Reading(configTree(schema), source.name);
  const file = parseYamlFile(source.text, (line, column, message) =>
    reading.report([], { source: source.name, line, column }, message),
  );
  const input = reading.read(file, source);
  for (const override of overrides) reading.override(input, override);
  const parsed = schema.safeParse(input);
  if (!parsed.success) for (const issue of parsed.error.issues) reading.reportIssue(issue);
  reading.throwProblems();
  return parsed.data as T;
}

interface Place {
  source: string;
  line: number;
  column: number;
}

/** One config on its way in: where its values came from, and what is wrong. */
class Reading {
  readonly #root: SectionNode;
  readonly #fileName: string;
  readonly #places = new Map<string, Place>();
  readonly #problems: ConfigProblem[] = [];
  /** Paths that have a problem: what zod says of them again is left out. */
  readonly #reported = new Set<string>();

  constructor(root: SectionNode, fileName: string) {
    this.#root = root;
    this.#fileName = fileName;
  }

  read(file: YamlFile, { env, renamed = [], warn }: ConfigSource): Record<string, unknown> {
    const placeOf = (offset: number): Place => ({ source: this.#fileName, ...file.place(offset) });
    moveRenamedKeys(file.root, renamed, {
      moved: (key, { from, to }) => {
        const { line, column } = file.place(offsetOf(key));
        warn?.(`${this.#fileName}:${line}:${column}: ${from} is now ${to}: rename the key`);
      },
      clashed: (key, { from, to }) =>
        this.report([from], placeOf(offsetOf(key)), `is the old name of ${to}: give only that one`),
    });
    const context: ReadContext = {
      env,
      report: (path, node, message) => this.report(path, placeOf(offsetOf(node)), message),
      seen: (path, node) => this.#places.set(pathId(path), placeOf(offsetOf(node))),
    };
    const value = readNode(context, this.#root, file.root, []);
    const isNothingRead = file.root === undefined && this.#problems.length > 0;
    if (value === unreadable || isNothingRead) throw new ConfigError(this.#problems);
    return value as Record<string, unknown>;
  }

  override(input: Record<string, unknown>, { path, text, flag }: ConfigOverride): void {
    const place = { source: flag, line: 0, column: 0 };
    let target = input;
    for (const name of path.slice(0, -1)) {
      const next = target[name];
      // The file's mistake is reported already.
      if (typeof next !== "object" || next === null) return;
      target = next as Record<string, unknown>;
    }
    this.#places.set(pathId(path), place);
    try {
      target[path[path.length - 1]] = scalarFromText(this.#scalarAt(path), text);
    } catch (error) {
      this.report(path, place, toSpoorError(error).message);
      target[path[path.length - 1]] = unreadable;
    }
  }

  reportIssue(issue: z.core.$ZodIssue): void {
    const path = issue.path.map(String);
    for (let length = path.length; length > 0; length--) {
      if (this.#reported.has(pathId(path.slice(0, length)))) return;
    }
    this.report(path, this.#placeNear(path), issueText(issue, nodeAt(this.#root, path)));
  }

  report(path: readonly string[], place: Place, message: string): void {
    this.#reported.add(pathId(path));
    if (this.#problems.length >= problemsMax) return;
    // A flag names itself, and may stand for several keys.
    const isFlag = place.line === 0 && place.source !== this.#fileName;
    const problem = { path: isFlag ? "" : yamlPath(this.#root, path), ...place, message };
    const isTold = this.#problems.some((other) => isFlag && isSame(other, problem));
    if (!isTold) this.#problems.push(problem);
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

  /** Where the path stands in the file, or the section that it belongs to. */
  #placeNear(path: readonly string[]): Place {
    for (let length = path.length; length > 0; length--) {
      const place = this.#places.get(pathId(path.slice(0, length)));
      if (place !== undefined) return place;
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

/** A path in YAML's names. */
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

/** What zod found, in the words of the config file. */
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

/** A number in the unit that its key has in YAML. */
export function formatNumber(node: ScalarNode, value: number): string {
  if (!Number.isSafeInteger(value) || value < 0) return String(value);
  if (node.type === "duration") return formatDuration(value);
  return node.type === "size" ? formatSize(value) : String(value);
}
