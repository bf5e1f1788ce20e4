/** Parses tag names as clients write them. */
import type { TagReference, TagScope } from "#pkg/api/api.ts";
import { intrinsicSources } from "#pkg/engine/engine.ts";
import { hasCode, SpoorError } from "#pkg/errors/errors.ts";
import {
  type AttributeScope,
  type IntrinsicName,
  intrinsicOf,
  intrinsics,
  parseQuery,
  type Reference,
} from "#pkg/traceql/traceql.ts";

/** The order in which scopes are shown. */
export const tagScopes: readonly TagScope[] = [
  "resource",
  "span",
  "event",
  "link",
  "instrumentation",
];

/** Intrinsics that are computed from the trace's tree. Tempo does not list them. */
const unlisted: readonly string[] = ["span:childCount"];

/** The intrinsics of every span, in every spelling, as Tempo lists them. */
export const intrinsicTags: readonly string[] = Object.entries(intrinsics)
  .filter(([name, { isScoped }]) => isScoped && !unlisted.includes(name))
  .flatMap(([name, { legacy }]) => (legacy === undefined ? [name] : [name, legacy]))
  .sort();

/** Where the values of a name come from: a fixed list, or the spans. */
export type TagTarget =
  | { kind: "known"; type: "keyword" | "string"; values: readonly string[] }
  | { kind: "asked"; references: TagReference[] };

const statusWords = ["ok", "error", "unset"];
const kindWords = ["client", "server", "producer", "consumer", "internal", "unspecified"];

/** Decodes a name from a URL's path. Grafana 12.2 and 12.3 encode it twice. */
export function decodeTagName(raw: string): string {
  const once = decoded(raw);
  return /%[0-9a-fA-F]{2}/.test(once) ? decoded(once) : once;
}

/** Decodes percent-encoded UTF-8; returns other text unchanged. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Parses a name of version 2 of the API: a whole TraceQL identifier. Throws InvalidInput. */
export function parseTagName(name: string): TagTarget {
  const reference = referenceOf(name) ?? plainAttribute(name);
  if (reference === undefined) {
    const shown = name.length > 200 ? `${name.slice(0, 200)}...` : name;
    throw new SpoorError("InvalidInput", `please provide a valid tagName: ${shown}`, {
      reason: "invalid_parameter",
    });
  }
  return reference.kind === "intrinsic"
    ? intrinsicTarget(reference.name)
    : attributeTarget(reference);
}

type NamedReference =
  | { kind: "attribute"; scope: AttributeScope; name: string }
  | { kind: "intrinsic"; name: IntrinsicName };

function referenceOf(name: string): Reference | undefined {
  try {
    const { body } = parseQuery(`{ ${name} != nil }`);
    const [stage] = body.kind === "pipeline" ? body.stages : [];
    if (stage?.kind !== "filter" || stage.expr.kind !== "comparison") return undefined;
    const { op, left, right } = stage.expr;
    const isName = left.kind === "attribute" || left.kind === "intrinsic";
    const isAlone = op === "!=" && right.kind === "static" && right.static.type === "nil";
    return isName && isAlone ? left : undefined;
  } catch (error) {
    if (hasCode(error, "InvalidInput")) return undefined;
    throw error;
  }
}

/** Parses a name that needs quotes but was written without them: `span.with space`. */
function plainAttribute(name: string): NamedReference | undefined {
  const match = /^(|span|resource|event|link|instrumentation)\.([^]+)$/.exec(name);
  if (match === null || match[2].length > 1000) return undefined;
  const scope = match[1] === "" ? "any" : (match[1] as AttributeScope);
  return { kind: "attribute", scope, name: match[2] };
}

/** Parses a name of version 1 of the API: an attribute without its scope, or a few old words. */
export function parseOldTagName(name: string): TagTarget {
  switch (name) {
    case "status.code":
      return { kind: "known", type: "keyword", values: statusWords };
    case "error":
      return { kind: "known", type: "string", values: ["true"] };
    case "root.name":
      return intrinsicTarget("trace:rootName");
    case "root.service.name":
      return intrinsicTarget("trace:rootService");
    default: {
      const intrinsic = intrinsicOf(name);
      if (intrinsic !== undefined) return intrinsicTarget(intrinsic);
      return attributeTarget({ scope: "any", name });
    }
  }
}

function attributeTarget({ scope, name }: { scope: AttributeScope; name: string }): TagTarget {
  const scopes = scope === "any" ? tagScopes : [scope];
  const references = scopes.map((one): TagReference => {
    return { kind: "attribute", scope: one, name };
  });
  return { kind: "asked", references };
}

function intrinsicTarget(name: IntrinsicName): TagTarget {
  const { kind, isListed } = intrinsicSources[name];
  if (kind === "status") return { kind: "known", type: "keyword", values: statusWords };
  if (kind === "kind") return { kind: "known", type: "keyword", values: kindWords };
  if (isListed) return { kind: "asked", references: [{ kind: "intrinsic", name }] };
  return { kind: "known", type: "string", values: [] };
}
