/**
 * A zod schema as a plain tree, with the parts that reading, printing and the reference page need.
 * The tree is derived from zod's JSON Schema, so wrappers (default, optional, refine) need no
 * special case.
 *
 * Keys: a number whose name ends with `Ms` is a duration (`cutAgeMs` is `cut_age` in YAML), one
 * whose name contains the word `bytes` is a size. `.meta({ secret: true })` is never printed.
 */
import { z } from "zod";
import { SpoorError } from "#pkg/errors/errors.ts";

export type ConfigNode = SectionNode | ScalarNode | ListNode | MapNode;

interface NodeCommon {
  description: string;
  /** In the program's units (milliseconds, bytes); undefined if there is none. */
  defaultValue: unknown;
  required: boolean;
}

export interface SectionNode extends NodeCommon {
  kind: "section";
  fields: ConfigField[];
}

export interface ConfigField {
  /** Name in YAML. */
  key: string;
  /** Name in the program. */
  name: string;
  node: ConfigNode;
}

export interface ScalarNode extends NodeCommon {
  kind: "scalar";
  type: "text" | "number" | "integer" | "boolean" | "choice" | "duration" | "size";
  choices: string[];
  secret: boolean;
  /** Inclusive bounds of a number in the program's units; infinite if there is none. */
  min: number;
  max: number;
}

export interface ListNode extends NodeCommon {
  kind: "list";
  item: ConfigNode;
}

/** A map with arbitrary keys and one kind of value. */
export interface MapNode extends NodeCommon {
  kind: "map";
  value: ConfigNode;
}

/** The part of JSON Schema that configs use. */
interface JsonSchema {
  type?: string;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: JsonSchema | boolean;
  items?: JsonSchema;
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  description?: string;
  secret?: boolean;
  minimum?: number;
  exclusiveMinimum?: number;
  maximum?: number;
  exclusiveMaximum?: number;
}

/** Returns the tree of an object schema. Throws Internal for unsupported parts of a schema. */
export function configTree(schema: z.ZodType): SectionNode {
  const json = z.toJSONSchema(schema, { io: "input" }) as JsonSchema;
  const node = nodeOf("", json, true);
  if (node.kind !== "section") throw unsupported("", "the root is not an object");
  return node;
}

/** Returns the YAML key: `cutAgeMs` -> `cut_age`, `headBytesMax` -> `head_bytes_max`. */
export function yamlKey(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/_ms$/, "");
}

function nodeOf(name: string, json: JsonSchema, required: boolean): ConfigNode {
  const common: NodeCommon = {
    description: json.description ?? "",
    defaultValue: json.default,
    required: required && json.default === undefined,
  };
  if (json.type === "object") return objectNode(name, json, common);
  if (json.type === "array" && json.items !== undefined) {
    return { ...common, kind: "list", item: nodeOf(name, json.items, true) };
  }
  return scalarNode(name, json, common);
}

function objectNode(name: string, json: JsonSchema, common: NodeCommon): SectionNode | MapNode {
  if (json.properties === undefined) {
    if (typeof json.additionalProperties !== "object") throw unsupported(name, "an open object");
    return { ...common, kind: "map", value: nodeOf(name, json.additionalProperties, true) };
  }
  if (json.additionalProperties !== false) throw unsupported(name, "an object that is not strict");
  const required = new Set(json.required);
  const fields: ConfigField[] = [];
  for (const [fieldName, field] of Object.entries(json.properties)) {
    const key = yamlKey(fieldName);
    if (fields.some((other) => other.key === key)) throw unsupported(fieldName, `two keys ${key}`);
    fields.push({ key, name: fieldName, node: nodeOf(fieldName, field, required.has(fieldName)) });
  }
  return { ...common, kind: "section", fields };
}

function scalarNode(name: string, json: JsonSchema, common: NodeCommon): ScalarNode {
  const choices = (json.enum ?? (json.const === undefined ? [] : [json.const])).map(String);
  return {
    ...common,
    kind: "scalar",
    type: scalarType(name, json, choices),
    choices,
    secret: json.secret === true,
    min: Math.max(json.minimum ?? -Infinity, above(json.exclusiveMinimum, json.type)),
    max: Math.min(json.maximum ?? Infinity, json.exclusiveMaximum ?? Infinity),
  };
}

/** Returns an exclusive minimum as a minimum: an integer above 0 is at least 1. */
function above(exclusiveMinimum: number | undefined, type: string | undefined): number {
  if (exclusiveMinimum === undefined) return -Infinity;
  return type === "integer" ? exclusiveMinimum + 1 : exclusiveMinimum;
}

function scalarType(name: string, json: JsonSchema, choices: string[]): ScalarNode["type"] {
  if (json.type === "string") return choices.length > 0 ? "choice" : "text";
  if (json.type === "boolean") return "boolean";
  if (json.type !== "number" && json.type !== "integer") {
    throw unsupported(name, `type ${JSON.stringify(json.type)}`);
  }
  if (name.endsWith("Ms")) return "duration";
  if (/(^b|B)ytes(?![a-z])/.test(name)) return "size";
  return json.type;
}

function unsupported(name: string, what: string): SpoorError {
  return new SpoorError("Internal", `config schema, ${name || "root"}: ${what} is not supported`);
}
