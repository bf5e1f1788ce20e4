/** Reads YAML nodes by a config tree: units, variables, and problems with their positions. */
import { isMap, isScalar, isSeq, Scalar, type Node, type YAMLMap } from "yaml";
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { ConfigNode, ListNode, MapNode, ScalarNode, SectionNode } from "./config-tree.ts";
import { durationExample, parseDuration } from "./duration.ts";
import { expandVariables, hasVariables, type Environment } from "./interpolate.ts";
import { didYouMean } from "./nearest.ts";
import { redacted } from "#pkg/log/log.ts";
import { parseSize, sizeExample } from "./size.ts";

const shownCharsMax = 60;

/** Stands for an invalid value whose problem is reported already. */
export const unreadable: unique symbol = Symbol("unreadable");

export interface ReadContext {
  env: Environment;
  report: (path: readonly string[], node: Node, message: string) => void;
  /** Called for every value in the file, with its path in the program's names. */
  seen: (path: readonly string[], node: Node) => void;
}

/** Reads a node as the program's value; a missing section is an empty object. */
export function readNode(
  context: ReadContext,
  node: ConfigNode,
  yaml: Node | undefined,
  path: readonly string[],
): unknown {
  if (yaml === undefined) return emptyValue(context, node, path);
  context.seen(path, yaml);
  if (node.kind === "section") return readSection(context, node, yaml, path);
  if (node.kind === "map") return readMap(context, node, yaml, path);
  if (node.kind === "list") return readList(context, node, yaml, path);
  return readScalar(context, node, yaml, path);
}

/** Returns the value of a missing key: a required section is read for its defaults. */
function emptyValue(context: ReadContext, node: ConfigNode, path: readonly string[]): unknown {
  if (node.kind !== "section" || !node.required) return undefined;
  const out: Record<string, unknown> = {};
  for (const field of node.fields) {
    setOwn(out, field.name, readNode(context, field.node, undefined, [...path, field.name]));
  }
  return out;
}

function readSection(
  context: ReadContext,
  node: SectionNode,
  yaml: Node,
  path: readonly string[],
): unknown {
  if (isNothing(yaml)) return emptyValue(context, { ...node, required: true }, path);
  const entries = readEntries(context, yaml, path, "a section (keys with values)");
  if (entries === undefined) return unreadable;
  const out: Record<string, unknown> = {};
  for (const [key, entry] of entries) {
    if (node.fields.some((field) => field.key === key)) continue;
    const known = node.fields.map((field) => field.key);
    context.report([...path, key], entry.key, `unknown key${didYouMean(key, known)}`);
  }
  for (const field of node.fields) {
    const value = entries.get(field.key)?.value;
    setOwn(out, field.name, readNode(context, field.node, value, [...path, field.name]));
  }
  return out;
}

function readMap(
  context: ReadContext,
  node: MapNode,
  yaml: Node,
  path: readonly string[],
): unknown {
  if (isNothing(yaml)) return {};
  const entries = readEntries(context, yaml, path, "keys with values");
  if (entries === undefined) return unreadable;
  const out: Record<string, unknown> = {};
  for (const [key, { key: keyNode, value }] of entries) {
    // zod silently drops this key from records.
    if (key === "__proto__") context.report([...path, key], keyNode, "this key is not allowed");
    else setOwn(out, key, readNode(context, node.value, value, [...path, key]));
  }
  return out;
}

interface Entry {
  key: Node;
  value: Node;
}

function readEntries(
  context: ReadContext,
  yaml: Node,
  path: readonly string[],
  expected: string,
): Map<string, Entry> | undefined {
  if (!isMap(yaml)) {
    context.report(path, yaml, `expected ${expected}, got ${shown(yaml)}`);
    return undefined;
  }
  const entries = new Map<string, Entry>();
  for (const { key, value } of (yaml as YAMLMap<Node, Node | null>).items) {
    if (!isScalar(key)) {
      context.report(path, key, "a key must be a word");
      continue;
    }
    const name = String(key.value);
    if (entries.has(name)) context.report([...path, name], key, "this key was given before");
    else entries.set(name, { key, value: value ?? nothingAt(key) });
  }
  return entries;
}

function readList(
  context: ReadContext,
  node: ListNode,
  yaml: Node,
  path: readonly string[],
): unknown {
  if (!isSeq<Node>(yaml)) {
    context.report(path, yaml, `expected a list, got ${shown(yaml)}`);
    return unreadable;
  }
  return yaml.items.map((item, index) =>
    readNode(context, node.item, item, [...path, String(index)]),
  );
}

function readScalar(
  context: ReadContext,
  node: ScalarNode,
  yaml: Node,
  path: readonly string[],
): unknown {
  const wrong = (got: string): typeof unreadable => {
    const value = node.secret ? "something else" : got;
    context.report(path, yaml, `expected ${expectedText(node)}, got ${value}`);
    return unreadable;
  };
  if (!isScalar(yaml)) return wrong(shown(yaml));
  const { value } = yaml;
  if (typeof value === "string") {
    try {
      const text = expandVariables(value, context.env);
      // Quoted digits are text, but the value of a variable has no type.
      if (isPlainOnly(node) && !hasVariables(value)) return wrong(shown(yaml));
      return scalarFromText(node, text);
    } catch (error) {
      context.report(path, yaml, toSpoorError(error).message);
      return unreadable;
    }
  }
  if (node.type === "duration") return value === 0 ? 0 : wrong(`${shown(yaml)} without a unit`);
  if (typeof value === "boolean" && node.type === "boolean") return value;
  if (typeof value === "number" && isNumeric(node)) {
    const isWhole = Number.isSafeInteger(value) && (node.type !== "size" || value >= 0);
    return node.type === "number" || isWhole ? value : wrong(shown(yaml));
  }
  return wrong(shown(yaml));
}

/** Parses the text of a variable or a flag. Throws InvalidInput. */
export function scalarFromText(node: ScalarNode, text: string): unknown {
  switch (node.type) {
    case "text":
      if (node.secret && text === redacted) throw invalid(`${redacted} is not the secret`);
      return text;
    case "choice":
      if (node.choices.includes(text)) return text;
      break;
    case "boolean":
      if (text === "true" || text === "false") return text === "true";
      break;
    case "duration":
      return parseDuration(text);
    case "size":
      return parseSize(text);
    case "number":
    case "integer": {
      const value = /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
      if (node.type === "integer" ? Number.isSafeInteger(value) : Number.isFinite(value)) {
        return value;
      }
    }
  }
  const hint = node.type === "choice" ? didYouMean(text, node.choices) : "";
  const got = node.secret ? "something else" : JSON.stringify(text.slice(0, shownCharsMax));
  throw invalid(`expected ${expectedText(node)}, got ${got}${hint}`);
}

const expectedTexts: Record<Exclude<ScalarNode["type"], "choice">, string> = {
  text: "text",
  boolean: "true or false",
  duration: durationExample,
  size: sizeExample,
  integer: "a whole number",
  number: "a number",
};

/** Describes the valid values of a scalar, for messages. */
function expectedText(node: ScalarNode): string {
  if (node.type !== "choice") return expectedTexts[node.type];
  return node.choices.length === 1 ? node.choices[0] : `one of ${node.choices.join(", ")}`;
}

function isPlainOnly(node: ScalarNode): boolean {
  return node.type === "boolean" || node.type === "integer" || node.type === "number";
}

function isNumeric(node: ScalarNode): boolean {
  return node.type === "integer" || node.type === "number" || node.type === "size";
}

function isNothing(yaml: Node): boolean {
  return isScalar(yaml) && (yaml.value === null || yaml.value === undefined);
}

/** Returns the value node of a key without a value. */
function nothingAt(key: Node): Node {
  const nothing = new Scalar(null);
  nothing.range = key.range;
  return nothing;
}

function invalid(message: string): SpoorError {
  return new SpoorError("InvalidInput", message, { reason: "invalid_config" });
}

/** Describes a value of the file for a message. */
function shown(yaml: Node): string {
  if (isMap(yaml)) return "a section";
  if (isSeq(yaml)) return "a list";
  const value = isScalar(yaml) ? yaml.value : undefined;
  if (value === null || value === undefined) return "nothing";
  if (typeof value === "string") return `the text ${JSON.stringify(value.slice(0, shownCharsMax))}`;
  return typeof value === "number" ? `the number ${String(value)}` : JSON.stringify(value);
}

/** Sets a key from the file safely, also `__proto__`. Leaves out undefined. */
function setOwn(out: Record<string, unknown>, key: string, value: unknown): void {
  if (value === undefined) return;
  Object.defineProperty(out, key, { value, enumerable: true, writable: true, configurable: true });
}
