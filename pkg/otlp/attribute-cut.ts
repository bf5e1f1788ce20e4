/**
 * Cuts attributes of a record to their limits. It handles only records that attribute-scan.ts
 * found, so it may build objects. It runs where records are decoded, never on the main thread.
 *
 * - A key and a text value are cut to their first bytes, at the end of a character.
 * - A bytes value is cut to its first bytes. A list or a map loses entries from its end.
 * - Attributes beyond the allowed number are dropped and counted as dropped, as SDKs do.
 *
 * A span, scope or resource with a cut gets the attribute `spoor.truncated` = true. A cut in an
 * event or a link marks its span.
 */
import { WireWriter } from "#pkg/bytes/bytes.ts";
import type { AttributeLimits } from "./attribute-scan.ts";
import { decodeTraceData } from "./decode.ts";
import { encodeTraceData, writeAnyValue } from "./encode.ts";
import type { AnyValue, KeyValue, Span } from "./trace-data.ts";

export const truncatedKey = "spoor.truncated";

/** Numbers of cuts. */
export interface CutCounts {
  keys: number;
  values: number;
  /** Dropped attributes. */
  attributes: number;
}

export interface CutRecord {
  record: Uint8Array;
  counts: CutCounts;
  /** Trace ids (32 hex digits) of the first spans that were cut. */
  examples: string[];
}

const examplesMax = 5;

/**
 * Returns the record cut to its limits; undefined if it is within them. Throws InvalidInput if the
 * record does not parse.
 */
export function cutAttributes(record: Uint8Array, limits: AttributeLimits): CutRecord | undefined {
  const cut = new Cut(limits);
  const data = decodeTraceData(record);
  for (const { resource, scopeSpans } of data.resourceSpans) {
    const dropped = cut.list(resource);
    resource.droppedAttributesCount += dropped;
    cut.mark(resource.attributes);
    for (const { scope, spans } of scopeSpans) {
      scope.droppedAttributesCount += cut.list(scope);
      cut.mark(scope.attributes);
      for (const span of spans) cut.span(span);
    }
  }
  const { keys, values, attributes } = cut.counts;
  if (keys + values + attributes === 0) return undefined;
  return { record: encodeTraceData(data), counts: cut.counts, examples: [...cut.examples] };
}

class Cut {
  readonly counts: CutCounts = { keys: 0, values: 0, attributes: 0 };
  readonly examples = new Set<string>();
  readonly #keyMax: number;
  readonly #valueMax: number;
  readonly #countMax: number;
  /** Whether something was cut since the last mark. */
  #isCut = false;

  constructor(limits: AttributeLimits) {
    this.#keyMax = limits.attributeKeyBytesMax || Number.POSITIVE_INFINITY;
    this.#valueMax = limits.attributeValueBytesMax || Number.POSITIVE_INFINITY;
    this.#countMax = limits.attributesPerSpanMax || Number.POSITIVE_INFINITY;
  }

  span(span: Span): void {
    span.droppedAttributesCount += this.list(span);
    for (const event of span.events) event.droppedAttributesCount += this.list(event);
    for (const link of span.links) link.droppedAttributesCount += this.list(link);
    if (!this.mark(span.attributes)) return;
    if (this.examples.size < examplesMax) {
      this.examples.add(Buffer.from(span.traceId).toString("hex"));
    }
  }

  /** Cuts the attributes of one owner; returns the number of dropped ones. */
  list(owner: { attributes: KeyValue[] }): number {
    const marks = owner.attributes.filter(({ key }) => key === truncatedKey);
    const others = owner.attributes.filter(({ key }) => key !== truncatedKey);
    const dropped = Math.max(0, others.length - this.#countMax);
    if (dropped > 0) {
      this.counts.attributes += dropped;
      this.#isCut = true;
      others.length -= dropped;
      owner.attributes = [...others, ...marks];
    }
    for (const attribute of others) this.#attribute(attribute);
    return dropped;
  }

  /** Marks the owner of the list if it was cut since the last mark; returns whether it was. */
  mark(attributes: KeyValue[]): boolean {
    if (!this.#isCut) return false;
    this.#isCut = false;
    const isMarked = attributes.some(({ key }) => key === truncatedKey);
    if (!isMarked) attributes.push({ key: truncatedKey, value: { kind: "bool", value: true } });
    return true;
  }

  #attribute(attribute: KeyValue): void {
    const key = cutText(attribute.key, this.#keyMax);
    if (key !== attribute.key) {
      this.counts.keys++;
      this.#isCut = true;
      attribute.key = key;
    }
    const value = cutValue(attribute.value, this.#valueMax);
    if (value === attribute.value) return;
    this.counts.values++;
    this.#isCut = true;
    attribute.value = value;
  }
}

/** Returns the value cut to the limit; the identical object if it is within the limit. */
function cutValue(value: AnyValue, bytesMax: number): AnyValue {
  switch (value.kind) {
    case "string": {
      const text = cutText(value.value, bytesMax);
      return text === value.value ? value : { kind: "string", value: text };
    }
    case "bytes":
      if (value.value.length <= bytesMax) return value;
      return { kind: "bytes", value: value.value.slice(0, bytesMax) };
    case "array":
      if (value.values.length === 0 || sizeOf(value) <= bytesMax) return value;
      return { kind: "array", values: fitting(value.values, (one) => sizeOf(one), bytesMax) };
    case "kvlist": {
      if (value.values.length === 0 || sizeOf(value) <= bytesMax) return value;
      const size = (one: KeyValue): number => sizeOf({ kind: "kvlist", values: [one] });
      return { kind: "kvlist", values: fitting(value.values, size, bytesMax) };
    }
    default:
      return value;
  }
}

/** Upper bound of the tags and lengths around one entry, and around the list, bytes. */
const entryHeadBytes = 6;

/** Returns the first entries that fit into `bytesMax`. */
function fitting<T>(list: readonly T[], sizeOfEntry: (entry: T) => number, bytesMax: number): T[] {
  let sizeBytes = entryHeadBytes;
  const end = list.findIndex((entry) => {
    sizeBytes += sizeOfEntry(entry) + entryHeadBytes;
    return sizeBytes > bytesMax;
  });
  return list.slice(0, end < 0 ? list.length : end);
}

function sizeOf(value: AnyValue): number {
  const writer = new WireWriter();
  writeAnyValue(writer, value);
  return writer.sizeBytes;
}

/** Cuts a text to at most `bytesMax` bytes of UTF-8, at the end of a character. */
function cutText(text: string, bytesMax: number): string {
  // A character takes at most three bytes per UTF-16 unit.
  if (text.length * 3 <= bytesMax || Buffer.byteLength(text) <= bytesMax) return text;
  const bytes = Buffer.from(text);
  let end = bytesMax;
  while (end > 0 && (bytes[end] & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end);
}
