/** How questions about tags, columns and the tag index name the same things. */
import type { TagQuestion, TagReference, TagScope, TagValueType } from "#pkg/api/api.ts";
import type { TagType } from "#pkg/block/block.ts";
import { columnPrefix, parseAttributeColumn, type ScalarType } from "#pkg/columns/columns.ts";
import type { IntrinsicName } from "#pkg/traceql/traceql.ts";
import { intrinsicSources } from "#pkg/engine/condition/intrinsics.ts";
import { referenceColumns } from "#pkg/engine/condition/references.ts";

export const scalarTypes: readonly ScalarType[] = ["string", "int64", "double", "bool"];

/** Types of the tag index in the words of answers. */
export const valueTypes: Readonly<Record<Exclude<TagType, "other">, TagValueType>> = {
  string: "string",
  int64: "int",
  double: "float",
  bool: "bool",
};

/**
 * The column, which is also the key of the tag index, of an intrinsic whose values are listed;
 * undefined for another one.
 */
export function listedColumn(name: IntrinsicName): string | undefined {
  const { column, isListed } = intrinsicSources[name];
  return isListed ? column : undefined;
}

/** The key of the tag index that has the values; undefined if nothing lists them. */
export function indexKeyOf(reference: TagReference): string | undefined {
  if (reference.kind === "intrinsic") return listedColumn(reference.name);
  return `${columnPrefix(reference.scope)}.${reference.name}`;
}

/** Which of a row group's columns hold the answer. */
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
