/** Names of tags as clients write them. */
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

/** Numbers of trees: Tempo does not list them. */
const unlisted: readonly string[] = ["span:childCount"];

/** What every span has, in every spelling, as Tempo lists it. */
export const intrinsicTags: readonly string[] = Object.entries(intrinsics)
  .filter(([name, { isScoped }]) => isScoped && !unlisted.includes(name))
  .flatMap(([name, { legacy }]) => (legacy === undefined ? [name] : [name, legacy]))
  .sort();

/** What to do about the values of a name: they are known, or spans are asked. */
export type TagTarget =
  | { kind: "known"; type: "keyword" | "string"; values: readonly string[] }
  | { kind: "asked"; references: TagReference[] };

const statusWords = ["ok", "error", "unset"];
const kindWords = ["client", "server", "producer", "consumer", "internal", "unspecified"];

/** The name out of a path, which may be encoded twice (Grafana 12.2 and 12.3 do that). */
export function decodeTagName(raw: string): string {
  const once = decoded(raw);
  return /%[0-9a-fA-F]{2}/.test(once) ? decoded(once) : once;
}

/** Text that is not percent-encoded UTF-8 stays as it is. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A name of the second API: a whole TraceQL identifier. Throws InvalidInput. */
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

/** A name that would need quotes, written without them: `span.with space`. */
function plainAttribute(name: string): NamedReference | undefined {
  const match = /^(|span|resource|event|link|instrumentation)\.([^]+)$/.exec(name);
  if (match === null || match[2].length > 1000) return undefined;
  const scope = match[1] === "" ? "any" : (match[1] as AttributeScope);
  return { kind: "attribute", scope, name: match[2] };
}

/** A name of the first API: an attribute without its scope, or one of a few old words. */
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
