// HOT: runs per distinct list of attributes at each cut; measured by `npm run bench` (cut).
/**
 * Drafts tag index entries for attributes of events and links. The attribute lists are OTLP/JSON
 * texts in a dictionary, so each distinct list is parsed once.
 */
import { type ByteValues, type ColumnBatch, valueText } from "#pkg/columns/columns.ts";
import { type ItemScope, type TagType } from "./tag-index.ts";
import { type Draft, draftType } from "./tag-rest.ts";
import { countCodes } from "./value-counts.ts";

/** Key -> type -> text of the value -> count. */
type Counts = Map<string, Map<TagType, Map<string, number>>>;

/**
 * Drafts entries for all keys in `event_attributes` or `link_attributes`. Returns undefined if a
 * text is not in the form of `formatAttributesJson`: the index then does not cover the scope.
 */
export function listDrafts(batch: ColumnBatch, scope: ItemScope): Draft[] | undefined {
  const lists = batch.column(`${scope}_attributes`);
  if (lists === undefined) return [];
  if (lists.kind !== "list" || lists.child.kind !== "dict") return undefined;
  const { codes, dictionary } = lists.child;
  const counts = countAttributes(dictionary, countCodes(codes, dictionary.length));
  if (counts === undefined) return undefined;
  return [...counts].flatMap(([key, types]) =>
    [...types].map(([type, texts]) => draftType(`${scope}.${key}`, type, [...texts])),
  );
}

/** Counts the attributes in a dictionary of lists; list i occurs `counts[i]` times. */
function countAttributes(dictionary: ByteValues, counts: Uint32Array): Counts | undefined {
  const out: Counts = new Map();
  for (let code = 0; code < counts.length; code++) {
    if (counts[code] === 0) continue;
    const attributes = listAttributes(dictionary, code);
    if (attributes === undefined) return undefined;
    for (const one of attributes) addCount(out, one, counts[code]);
  }
  return out;
}

interface ListAttribute {
  key: string;
  type: TagType;
  /** Text of the value, as in the index. */
  text: string;
}

/**
 * Returns the attributes of one entry of a dictionary of lists, the last of each key; undefined if
 * the entry is not in the form of `formatAttributesJson`.
 */
export function listAttributes(dictionary: ByteValues, code: number): ListAttribute[] | undefined {
  const list = parseList(valueText(dictionary, code));
  if (list === undefined) return undefined;
  const last = new Map(list.map(({ key, value }) => [key, value]));
  return [...last].map(([key, value]) => {
    const [type, text] = typedText(value);
    return { key, type, text };
  });
}

function addCount(counts: Counts, { key, type, text }: ListAttribute, count: number): void {
  let types = counts.get(key);
  if (types === undefined) counts.set(key, (types = new Map()));
  let texts = types.get(type);
  if (texts === undefined) types.set(type, (texts = new Map()));
  texts.set(text, (texts.get(text) ?? 0) + count);
}

/** An AnyValue as `formatAnyValueJson` writes it. */
interface JsonValue {
  stringValue?: unknown;
  intValue?: unknown;
  doubleValue?: unknown;
  boolValue?: unknown;
}

interface JsonAttribute {
  key: string;
  value: JsonValue;
}

function parseList(text: string): JsonAttribute[] | undefined {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    return undefined;
  }
  return Array.isArray(list) && list.every(isAttribute) ? list : undefined;
}

function isAttribute(one: unknown): one is JsonAttribute {
  if (typeof one !== "object" || one === null || !("key" in one) || !("value" in one)) return false;
  return typeof one.key === "string" && typeof one.value === "object" && one.value !== null;
}

/** Returns a value's type and text for the index: integers are decimal, -0 is 0. */
function typedText({
  stringValue,
  intValue,
  doubleValue,
  boolValue,
}: JsonValue): [TagType, string] {
  if (typeof stringValue === "string") return ["string", stringValue];
  if (typeof intValue === "string") return ["int64", intValue];
  if (typeof boolValue === "boolean") return ["bool", String(boolValue)];
  return doubleValue === undefined ? ["other", ""] : ["double", String(Number(doubleValue))];
}
