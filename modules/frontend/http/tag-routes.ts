/** The tag endpoints: names and values, in both versions of the API. */
import type { TagScope } from "#pkg/api/api.ts";
import type { TagValue } from "#pkg/engine/engine.ts";
import type { Answer } from "./answers.ts";
import type { Queries } from "./queries.ts";
import type { ParamsReader } from "./read-params.ts";
import {
  type AnswerBounds,
  formatScopes,
  formatTexts,
  formatTypedValues,
  type TagAnswer,
  type TypedText,
} from "./tag-answer.ts";
import { decodeTagName, intrinsicTags, parseOldTagName, parseTagName } from "./tag-names.ts";
import { parseTagScope, type TagParams } from "./tag-params.ts";
import type { TagsStats } from "#pkg/query/query.ts";

/** Version of the API. Version 1 has neither types nor scopes. */
export type TagVersion = "v1" | "v2";

export interface TagAsk {
  queries: Queries;
  tenant: string;
  signal: AbortSignal;
  params: URLSearchParams;
  paramsReader: ParamsReader;
  nowMs: number;
  /** Longest response body, bytes. */
  bytesMax: number;
}

async function readTagParams({ paramsReader, params, nowMs, signal }: TagAsk): Promise<TagParams> {
  return await paramsReader.read({ kind: "tags", params: params.toString(), nowMs }, signal);
}

/** Answers a request for tag names. Throws InvalidInput. */
export async function tagNames(ask: TagAsk, version: TagVersion): Promise<Answer> {
  const { queries, tenant, signal } = ask;
  const { limit, ...query } = await readTagParams(ask);
  const { scopes, hasIntrinsics } = parseTagScope(ask.params);
  const bounds = { limit, bytesMax: ask.bytesMax };
  const format = (values: readonly TagValue[], stats: TagsStats): TagAnswer => {
    if (version === "v2")
      return formatScopes(scopedNames(values, scopes, hasIntrinsics), stats, bounds);
    // Version 1 lists intrinsics only if the request asks for nothing else.
    const isIntrinsic = scopes.length === 0 && hasIntrinsics;
    return formatTexts("tagNames", isIntrinsic ? intrinsicTags : textsOf(values), stats, bounds);
  };
  if (scopes.length === 0) return queries.knownTags((stats) => format([], stats));
  return await queries.tags(
    { ...query, tenant, signal, question: { kind: "names", scopes } },
    format,
  );
}

function scopedNames(
  values: readonly TagValue[],
  scopes: readonly TagScope[],
  hasIntrinsics: boolean,
): { name: string; texts: readonly string[] }[] {
  const lists = scopes.map((scope) => {
    return { name: scope, texts: textsOf(values.filter(({ kind }) => kind === scope)) };
  });
  return hasIntrinsics ? [{ name: "intrinsic", texts: intrinsicTags }, ...lists] : lists;
}

/**
 * Answers a request for the values of a tag. Throws InvalidInput.
 *
 * @param rawName the name as in the URL's path, percent-encoded.
 */
export async function tagValues(
  ask: TagAsk,
  version: TagVersion,
  rawName: string,
): Promise<Answer> {
  const { queries, tenant, signal } = ask;
  const name = decodeTagName(rawName);
  const target = version === "v1" ? parseOldTagName(name) : parseTagName(name);
  const { limit, ...query } = await readTagParams(ask);
  const bounds: AnswerBounds = { limit, bytesMax: ask.bytesMax };
  // Tempo sends no counts, and some of its clients reject unknown fields.
  const hasCounts = ask.params.get("counts") === "true";
  const format = (values: readonly TypedText[], stats: TagsStats): TagAnswer =>
    version === "v1"
      ? formatTexts("tagValues", textsOf(values), stats, bounds)
      : formatTypedValues(values, stats, { ...bounds, hasCounts });
  if (target.kind === "known") {
    const values = target.values.map((text) => ({ kind: target.type, text }));
    return queries.knownTags((stats) => format(values, stats));
  }
  const { references } = target;
  const question = { kind: "values" as const, references };
  return await queries.tags({ ...query, tenant, signal, question }, format);
}

/** Returns the distinct texts without their kinds, in their order. */
function textsOf(values: readonly TypedText[]): string[] {
  return [...new Set(values.map(({ text }) => text))];
}
