/**
 * Decodes OTLP protobuf bytes to objects.
 *
 * Accepts what protobuf allows: fields in any order, unknown fields (skipped), repeated singular
 * fields (the last wins, messages merge). Refuses with InvalidInput: truncation, a known field with
 * a wrong wire type, groups, values nested deeper than `valueDepthMax`. Strings that are not UTF-8
 * are repaired with U+FFFD and counted. split.ts accepts exactly the same bytes (property-tested).
 */
import { isUtf8 } from "node:buffer";
import { SpoorError } from "#pkg/errors/errors.ts";
import { wireBytes, wireFixed32, wireFixed64, WireReader, wireVarint } from "#pkg/bytes/bytes.ts";
import {
  type AnyValue,
  type EntityRef,
  type KeyValue,
  type Resource,
  type ResourceSpans,
  type Scope,
  type ScopeSpans,
  type Span,
  type SpanEvent,
  type SpanLink,
  type SpanStatus,
  type TraceData,
  valueDepthMax,
} from "./trace-data.ts";

/** Counts of changes by the decoder, for the caller's metrics. */
export interface DecodeCounts {
  /** Strings that were not UTF-8 and were repaired. */
  repairedStrings: number;
}

/** Decodes TracesData, ExportTraceServiceRequest or tempopb.Trace: their wire form is the same. */
export function decodeTraceData(bytes: Uint8Array, counts?: DecodeCounts): TraceData {
  const decoder = new Decoder(bytes, counts);
  const data: TraceData = { resourceSpans: [] };
  decoder.fields(bytes.length, (tag) => {
    if (!decoder.is(tag, 1, wireBytes)) return false;
    data.resourceSpans.push(decoder.resourceSpans(decoder.lengthEnd()));
    return true;
  });
  return data;
}

/** Decodes the bytes of one AnyValue message. */
export function decodeAnyValue(bytes: Uint8Array, counts?: DecodeCounts): AnyValue {
  return new Decoder(bytes, counts).anyValue(bytes.length, { kind: "empty" }, 1);
}

/** Decodes the bytes of one KeyValueList message. */
export function decodeKeyValueList(bytes: Uint8Array, counts?: DecodeCounts): KeyValue[] {
  const list: KeyValue[] = [];
  new Decoder(bytes, counts).keyValueList(bytes.length, list, 0);
  return list;
}

class Decoder extends WireReader {
  #counts: DecodeCounts;

  constructor(bytes: Uint8Array, counts: DecodeCounts = { repairedStrings: 0 }) {
    super(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
    this.#counts = counts;
  }

  /** Calls `field` for each field up to `end`; skips the field if it returns false. */
  fields(end: number, field: (tag: number) => boolean): void {
    const outerEnd = this.end;
    this.end = end;
    while (this.pos < end) {
      const tag = this.tag();
      if (!field(tag)) this.skip(tag);
    }
    this.end = outerEnd;
  }

  /** Returns whether `tag` is this field. Throws InvalidInput if its wire type is wrong. */
  is(tag: number, field: number, wireType: number): boolean {
    if (tag >>> 3 !== field) return false;
    if ((tag & 7) !== wireType) this.fail(`field ${field} has wire type ${tag & 7}`);
    return true;
  }

  bytes(): Uint8Array {
    const end = this.lengthEnd();
    const start = this.pos;
    this.pos = end;
    return this.buf.slice(start, end);
  }

  string(): string {
    const end = this.lengthEnd();
    const view = this.buf.subarray(this.pos, end);
    this.pos = end;
    const text = Buffer.from(view.buffer, view.byteOffset, view.length).toString("utf8");
    if (text.includes("\ufffd") && !isUtf8(view)) this.#counts.repairedStrings++;
    return text;
  }

  uint64(): bigint {
    this.fixed64();
    return (BigInt(this.hi) << 32n) | BigInt(this.lo);
  }

  int64(): bigint {
    this.varint64();
    return BigInt.asIntN(64, (BigInt(this.hi) << 32n) | BigInt(this.lo));
  }

  double(): number {
    if (this.pos + 8 > this.end) this.fail("truncated double");
    const view = new DataView(this.buf.buffer, this.buf.byteOffset + this.pos, 8);
    this.pos += 8;
    return view.getFloat64(0, true);
  }

  resourceSpans(end: number): ResourceSpans {
    const resource: Resource = { attributes: [], droppedAttributesCount: 0, entityRefs: [] };
    const found: ResourceSpans = { resource, scopeSpans: [], schemaUrl: "" };
    this.fields(end, (tag) => {
      if (this.is(tag, 1, wireBytes)) this.resource(this.lengthEnd(), resource);
      else if (this.is(tag, 2, wireBytes)) found.scopeSpans.push(this.scopeSpans(this.lengthEnd()));
      else if (this.is(tag, 3, wireBytes)) found.schemaUrl = this.string();
      else return false;
      return true;
    });
    return found;
  }

  resource(end: number, into: Resource): void {
    this.fields(end, (tag) => {
      if (this.is(tag, 1, wireBytes)) into.attributes.push(this.keyValue(this.lengthEnd(), 1));
      else if (this.is(tag, 2, wireVarint)) into.droppedAttributesCount = this.varint32();
      else if (this.is(tag, 3, wireBytes)) into.entityRefs.push(this.entityRef(this.lengthEnd()));
      else return false;
      return true;
    });
  }

  entityRef(end: number): EntityRef {
    const found: EntityRef = { schemaUrl: "", type: "", idKeys: [], descriptionKeys: [] };
    this.fields(end, (tag) => {
      if (this.is(tag, 1, wireBytes)) found.schemaUrl = this.string();
      else if (this.is(tag, 2, wireBytes)) found.type = this.string();
      else if (this.is(tag, 3, wireBytes)) found.idKeys.push(this.string());
      else if (this.is(tag, 4, wireBytes)) found.descriptionKeys.push(this.string());
      else return false;
      return true;
    });
    return found;
  }

  scopeSpans(end: number): ScopeSpans {
    const scope: Scope = { name: "", version: "", attributes: [], droppedAttributesCount: 0 };
    const found: ScopeSpans = { scope, spans: [], schemaUrl: "" };
    this.fields(end, (tag) => {
      if (this.is(tag, 1, wireBytes)) this.scope(this.lengthEnd(), scope);
      else if (this.is(tag, 2, wireBytes)) found.spans.push(this.span(this.lengthEnd()));
      else if (this.is(tag, 3, wireBytes)) found.schemaUrl = this.string();
      else return false;
      return true;
    });
    return found;
  }

  scope(end: number, into: Scope): void {
    this.fields(end, (tag) => {
      if (this.is(tag, 1, wireBytes)) into.name = this.string();
      else if (this.is(tag, 2, wireBytes)) into.version = this.string();
      else if (this.is(tag, 3, wireBytes)) into.attributes.push(this.keyValue(this.lengthEnd(), 1));
      else if (this.is(tag, 4, wireVarint)) into.droppedAttributesCount = this.varint32();
      else return false;
      return true;
    });
  }

  span(end: number): Span {
    const span = emptySpan();
    this.fields(end, (tag) => this.spanText(tag, span) || this.spanNumber(tag, span));
    return span;
  }

  spanText(tag: number, span: Span): boolean {
    if (this.is(tag, 1, wireBytes)) span.traceId = this.bytes();
    else if (this.is(tag, 2, wireBytes)) span.spanId = this.bytes();
    else if (this.is(tag, 3, wireBytes)) span.traceState = this.string();
    else if (this.is(tag, 4, wireBytes)) span.parentSpanId = this.bytes();
    else if (this.is(tag, 5, wireBytes)) span.name = this.string();
    else if (this.is(tag, 9, wireBytes)) span.attributes.push(this.keyValue(this.lengthEnd(), 1));
    else if (this.is(tag, 11, wireBytes)) span.events.push(this.event(this.lengthEnd()));
    else if (this.is(tag, 13, wireBytes)) span.links.push(this.link(this.lengthEnd()));
    else if (this.is(tag, 15, wireBytes)) this.status(this.lengthEnd(), span.status);
    else return false;
    return true;
  }

  spanNumber(tag: number, span: Span): boolean {
    if (this.is(tag, 6, wireVarint)) span.kind = this.varint32() | 0;
    else if (this.is(tag, 7, wireFixed64)) span.startTimeUnixNano = this.uint64();
    else if (this.is(tag, 8, wireFixed64)) span.endTimeUnixNano = this.uint64();
    else if (this.is(tag, 10, wireVarint)) span.droppedAttributesCount = this.varint32();
    else if (this.is(tag, 12, wireVarint)) span.droppedEventsCount = this.varint32();
    else if (this.is(tag, 14, wireVarint)) span.droppedLinksCount = this.varint32();
    else if (this.is(tag, 16, wireFixed32)) span.flags = this.fixed32();
    else return false;
    return true;
  }

  event(end: number): SpanEvent {
    const found: SpanEvent = {
      timeUnixNano: 0n,
      name: "",
      attributes: [],
      droppedAttributesCount: 0,
    };
    this.fields(end, (tag) => {
      if (this.is(tag, 1, wireFixed64)) found.timeUnixNano = this.uint64();
      else if (this.is(tag, 2, wireBytes)) found.name = this.string();
      else if (this.is(tag, 3, wireBytes)) {
        found.attributes.push(this.keyValue(this.lengthEnd(), 1));
      } else if (this.is(tag, 4, wireVarint)) found.droppedAttributesCount = this.varint32();
      else return false;
      return true;
    });
    return found;
  }

  link(end: number): SpanLink {
    const found: SpanLink = {
      traceId: new Uint8Array(),
      spanId: new Uint8Array(),
      traceState: "",
      attributes: [],
      droppedAttributesCount: 0,
      flags: 0,
    };
    this.fields(end, (tag) => {
      if (this.is(tag, 1, wireBytes)) found.traceId = this.bytes();
      else if (this.is(tag, 2, wireBytes)) found.spanId = this.bytes();
      else if (this.is(tag, 3, wireBytes)) found.traceState = this.string();
      else if (this.is(tag, 4, wireBytes)) {
        found.attributes.push(this.keyValue(this.lengthEnd(), 1));
      } else if (this.is(tag, 5, wireVarint)) found.droppedAttributesCount = this.varint32();
      else if (this.is(tag, 6, wireFixed32)) found.flags = this.fixed32();
      else return false;
      return true;
    });
    return found;
  }

  status(end: number, into: SpanStatus): void {
    this.fields(end, (tag) => {
      if (this.is(tag, 2, wireBytes)) into.message = this.string();
      else if (this.is(tag, 3, wireVarint)) into.code = this.varint32() | 0;
      else return false;
      return true;
    });
  }

  /** `depth` is the level of the attribute's value. */
  keyValue(end: number, depth: number): KeyValue {
    const found: KeyValue = { key: "", value: { kind: "empty" } };
    this.fields(end, (tag) => {
      if (this.is(tag, 1, wireBytes)) found.key = this.string();
      else if (this.is(tag, 2, wireBytes)) {
        found.value = this.anyValue(this.lengthEnd(), found.value, depth);
      } else return false;
      return true;
    });
    return found;
  }

  /** Reads an AnyValue on top of `before`, the same field's earlier occurrence. */
  anyValue(end: number, before: AnyValue, depth: number): AnyValue {
    if (depth > valueDepthMax) {
      throw new SpoorError("InvalidInput", `attribute value nested over ${valueDepthMax} levels`, {
        reason: "too_deep",
      });
    }
    let value = before;
    this.fields(end, (tag) => {
      if (this.is(tag, 1, wireBytes)) value = { kind: "string", value: this.string() };
      else if (this.is(tag, 2, wireVarint)) value = { kind: "bool", value: this.int64() !== 0n };
      else if (this.is(tag, 3, wireVarint)) value = { kind: "int", value: this.int64() };
      else if (this.is(tag, 4, wireFixed64)) value = { kind: "double", value: this.double() };
      else if (this.is(tag, 5, wireBytes)) {
        if (value.kind !== "array") value = { kind: "array", values: [] };
        this.arrayValue(this.lengthEnd(), value.values, depth);
      } else if (this.is(tag, 6, wireBytes)) {
        if (value.kind !== "kvlist") value = { kind: "kvlist", values: [] };
        this.keyValueList(this.lengthEnd(), value.values, depth);
      } else if (this.is(tag, 7, wireBytes)) value = { kind: "bytes", value: this.bytes() };
      else return false;
      return true;
    });
    return value;
  }

  arrayValue(end: number, into: AnyValue[], depth: number): void {
    this.fields(end, (tag) => {
      if (!this.is(tag, 1, wireBytes)) return false;
      into.push(this.anyValue(this.lengthEnd(), { kind: "empty" }, depth + 1));
      return true;
    });
  }

  keyValueList(end: number, into: KeyValue[], depth: number): void {
    this.fields(end, (tag) => {
      if (!this.is(tag, 1, wireBytes)) return false;
      into.push(this.keyValue(this.lengthEnd(), depth + 1));
      return true;
    });
  }
}

function emptySpan(): Span {
  return {
    traceId: new Uint8Array(),
    spanId: new Uint8Array(),
    traceState: "",
    parentSpanId: new Uint8Array(),
    name: "",
    kind: 0,
    startTimeUnixNano: 0n,
    endTimeUnixNano: 0n,
    attributes: [],
    droppedAttributesCount: 0,
    events: [],
    droppedEventsCount: 0,
    links: [],
    droppedLinksCount: 0,
    status: { message: "", code: 0 },
    flags: 0,
  };
}
