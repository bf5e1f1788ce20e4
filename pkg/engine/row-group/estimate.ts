/**
 * Estimates which share of a row group's spans match a condition, from its tag index. The estimate
 * decides the order of reading, never the result.
 */
import type { TagEntry, TagIndex } from "#pkg/block/block.ts";
import type { FieldExpr, Reference } from "#pkg/traceql/traceql.ts";
import { type IndexedType, valueOfText } from "#pkg/engine/condition/index-values.ts";
import { comparisonWith, mirrored, type Predicate } from "#pkg/engine/condition/predicate.ts";
import { setComparison } from "#pkg/engine/condition/literal-set.ts";
import { columnPrefix } from "#pkg/columns/columns.ts";
import { type IntrinsicKind, intrinsicSources } from "#pkg/engine/condition/intrinsics.ts";
import { isId, scopesOf } from "#pkg/engine/condition/references.ts";

/** The estimate if the index does not help. */
const unknownShare = 0.5;
/** Assumed number of distinct values among those that the index does not list. */
const unlistedValues = 1000;

/** Type of an intrinsic's values in the index, for the kinds of intrinsics that it lists. */
const indexedTypes: Partial<Record<IntrinsicKind, IndexedType>> = {
  text: "string",
  status: "status",
  kind: "kind",
};

/** Returns the estimated share of matching spans, 0 to 1. `rows` is the row count of the group. */
export function estimateShare(index: TagIndex, expr: FieldExpr, rows: number): number {
  switch (expr.kind) {
    case "static":
      return expr.static.type === "bool" && expr.static.value ? 1 : 0;
    case "logical": {
      const left = estimateShare(index, expr.left, rows);
      const right = estimateShare(index, expr.right, rows);
      return expr.op === "&&" ? left * right : Math.min(1, left + right);
    }
    case "not":
      return 1 - estimateShare(index, expr.operand, rows);
    case "comparison":
      return comparisonShare(index, expr, rows);
    default:
      return unknownShare;
  }
}

function comparisonShare(
  index: TagIndex,
  { op, left, right }: Extract<FieldExpr, { kind: "comparison" }>,
  rows: number,
): number {
  const isLeft = left.kind === "attribute" || left.kind === "intrinsic";
  const reference = isLeft ? left : right;
  const literal = isLeft ? right : left;
  if (isLeft && right.kind === "set") {
    const predicate = setComparison(op, right, isId(reference as Reference));
    return shareOf(index, reference as Reference, { predicate, isEqual: op === "=", rows });
  }
  const isName = reference.kind === "attribute" || reference.kind === "intrinsic";
  if (!isName || literal.kind !== "static") return unknownShare;
  const entries = entriesOf(index, reference);
  if (entries === undefined) return unknownShare;
  const present = Math.min(1, sum(entries.map(({ entry }) => entry.rows)) / rows);
  if (literal.static.type === "nil") return op === "=" ? 1 - present : present;
  const predicate = comparisonWith(isLeft ? op : mirrored(op), literal.static, literal.regex);
  return shareOf(index, reference, { predicate, isEqual: op === "=", rows });
}

/** Returns the estimated share of spans with a value that satisfies the predicate. */
function shareOf(
  index: TagIndex,
  reference: Reference,
  { predicate, isEqual, rows }: { predicate: Predicate; isEqual: boolean; rows: number },
): number {
  const entries = entriesOf(index, reference);
  if (entries === undefined) return unknownShare;
  const found = entries.map(({ entry, type }) => matchingRows(entry, type, predicate, isEqual));
  return Math.min(1, sum(found) / rows);
}

/** Returns the entries of a name; undefined if the index does not list this kind of name. */
function entriesOf(
  index: TagIndex,
  reference: Reference,
): { entry: TagEntry; type: IndexedType }[] | undefined {
  if (reference.kind === "intrinsic") {
    const { kind, indexKey } = intrinsicSources[reference.name];
    const type = indexedTypes[kind];
    if (type === undefined) return undefined;
    const found = index.entries.filter(({ key }) => key === indexKey);
    return found.map((entry) => ({ entry, type }));
  }
  const keys = scopesOf(reference.scope).map((scope) => `${columnPrefix(scope)}.${reference.name}`);
  const found = index.entries.filter(({ key }) => keys.includes(key));
  return found.map((entry) => ({ entry, type: entry.type }));
}

function matchingRows(
  { rows, values }: TagEntry,
  type: IndexedType,
  predicate: Predicate,
  isEqual: boolean,
): number {
  let listed = 0;
  let matching = 0;
  for (const [text, count] of values) {
    listed += count;
    if (predicate.value(valueOfText(type, text))) matching += count;
  }
  const unlisted = Math.max(0, rows - listed);
  return matching + (isEqual ? unlisted / unlistedValues : unlisted * unknownShare);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
