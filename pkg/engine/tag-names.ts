/** How questions about tags, columns and the tag index name the same things. */
import type { TagQuestion, TagReference, TagScope, TagValueType } from "#pkg/api/tags.ts";
import type { TagType } from "#pkg/block/tag-index.ts";
import { parseAttributeColumn, type ScalarType } from "#pkg/columns/schema.ts";
import { referenceColumns } from "./references.ts";

export const scalarTypes: readonly ScalarType[] = ["string", "int64", "double", "bool"];

/** Types of the tag index in the words of answers. */
export const valueTypes: Readonly<Record<Exclude<TagType, "other">, TagValueType>> = {
  string: "string",
  int64: "int",
  double: "float",
  bool: "bool",
};

/**
 * Columns, and keys of the tag index, of the intrinsics whose values are listed. Durations and ids
 * are not: nearly every span has another one.
 */
export const tagColumnNames: Readonly<Record<string, string | undefined>> = {
  "span:name": "name",
  "span:statusMessage": "status_message",
  "event:name": "event_name",
  "instrumentation:name": "scope_name",
  "instrumentation:version": "scope_version",
  "trace:rootName": "root_name",
  "trace:rootService": "root_service",
};

/** Columns and keys of the tag index say `scope` for the instrumentation scope. */
export function restPrefix(scope: TagScope): string {
  return scope === "instrumentation" ? "scope" : scope;
}

/** The key of the tag index that has the values; undefined if nothing lists them. */
export function indexKeyOf(reference: TagReference): string | undefined {
  if (reference.kind === "intrinsic") return tagColumnNames[reference.name];
  return `${restPrefix(reference.scope)}.${reference.name}`;
}

/** Which of a row group's columns hold the answer. */
export function questionColumns(question: TagQuestion, columnNames: readonly string[]): string[] {
  if (question.kind === "names") {
    return question.scopes.flatMap((scope) => scopeColumns(scope, columnNames));
  }
  return question.references.flatMap((reference): readonly string[] => {
    if (reference.kind === "intrinsic") return [tagColumnNames[reference.name] ?? []].flat();
    return referenceColumns({ ...reference, range: { from: 0, to: 0 } });
  });
}

function scopeColumns(scope: TagScope, columnNames: readonly string[]): string[] {
  if (scope === "event" || scope === "link") return [`${scope}_attributes`];
  const own = columnNames.filter((name) => parseAttributeColumn(name)?.scope === scope);
  return [...own, `${restPrefix(scope)}_rest_key`];
}
