/** Mapping between the names of tags in questions, columns and the tag index. */
import type { TagQuestion, TagReference, TagScope, TagValueType } from "#pkg/api/api.ts";
import type { TagType } from "#pkg/block/block.ts";
import { columnPrefix, parseAttributeColumn, type ScalarType } from "#pkg/columns/columns.ts";
import type { IntrinsicName } from "#pkg/traceql/traceql.ts";
import { intrinsicSources } from "#pkg/engine/condition/intrinsics.ts";
import { referenceColumns } from "#pkg/engine/condition/references.ts";

export const scalarTypes: readonly ScalarType[] = ["string", "int64", "double", "bool"];

/** Types of the tag index as answers name them. */
export const valueTypes: Readonly<Record<Exclude<TagType, "other">, TagValueType>> = {
  string: "string",
  int64: "int",
  double: "float",
  bool: "bool",
};

/**
 * Returns the column of an intrinsic, which is also its key in the tag index; undefined if its
 * values are not listed.
 */
export function listedColumn(name: IntrinsicName): string | undefined {
  const { column, isListed } = intrinsicSources[name];
  return isListed ? column : undefined;
}

/** Returns the key of the tag index for the values; undefined if they are not listed. */
export function indexKeyOf(reference: TagReference): string | undefined {
  if (reference.kind === "intrinsic") return listedColumn(reference.name);
  return `${columnPrefix(reference.scope)}.${reference.name}`;
}

/** Returns the columns that answer a question. */
export function questionColumns(question: TagQuestion, columnNames: readonly string[]): string[] {
  if (question.kind === "names") {
    return question.scopes.flatMap((scope) => scopeColumns(scope, columnNames));
  }
  return question.references.flatMap((reference): readonly string[] => {
    if (reference.kind === "intrinsic") return [listedColumn(reference.name) ?? []].flat();
    return referenceColumns({ ...reference, range: { from: 0, to: 0 } });
  });
}

function scopeColumns(scope: TagScope, columnNames: readonly string[]): string[] {
  if (scope === "event" || scope === "link") return [`${scope}_attributes`];
  const own = columnNames.filter((name) => parseAttributeColumn(name)?.scope === scope);
  return [...own, `${columnPrefix(scope)}_rest_key`];
}
