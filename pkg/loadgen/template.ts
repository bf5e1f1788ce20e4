/**
 * Span templates: spans encoded once, with placeholders where each copy gets its own ids, times and
 * numbers. A template is built from an ordinary span with marker values, whose positions are then
 * searched in the encoded bytes. A marker has the length of its replacement, so that all copies
 * have the same length.
 */
import { WireReader, WireWriter } from "#pkg/bytes/bytes.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  type KeyValue,
  type Resource,
  type ResourceSpans,
  type Scope,
  type Span,
  writeTraceData,
} from "#pkg/otlp/otlp.ts";

/** Kinds of placeholders. Texts are lower-case hex digits, except `user` (decimal digits). */
export const places = {
  traceId: 0,
  spanId: 1,
  parentId: 2,
  start: 3,
  end: 4,
  /** The midpoint between start and end. */
  middle: 5,
  /** The trace and span of an earlier trace. */
  earlierTraceId: 6,
  earlierSpanId: 7,
  /** One value per trace: an order of 8 digits, a user of 6, a session of 16. */
  order: 8,
  user: 9,
  session: 10,
  /** 16 digits, a new value in each span. */
  unique: 11,
  /** A varint of one byte, 0 to 127, and of three bytes, 2^14 to 2^21 - 1. */
  small: 12,
  large: 13,
} as const;

export interface SpanTemplate {
  /** Field 2 of ScopeSpans, with tag and length. */
  bytes: Uint8Array;
  /** Pairs of placeholder kind and offset. */
  places: Uint16Array;
}

/** Markers of binary placeholders: runs of a byte that no text, length or tag contains. */
const idMarkers: readonly (readonly [place: number, byte: number, length: number])[] = [
  [places.traceId, 0xf1, 16],
  [places.spanId, 0xf2, 8],
  [places.parentId, 0xf3, 8],
  [places.start, 0xf4, 8],
  [places.end, 0xf5, 8],
  [places.middle, 0xf6, 8],
  [places.earlierTraceId, 0xf7, 16],
  [places.earlierSpanId, 0xf8, 8],
];

const textMarkers: readonly (readonly [place: number, text: string])[] = [
  [places.order, "~order~~"],
  [places.user, "~user~"],
  [places.session, "~session~~~~~~~~"],
  [places.unique, "~unique~~~~~~~~~"],
];

const smallMarker = 0x55n;
const largeMarker = 0x15_5555n;

/** Returns the marker of an id. */
export function markerBytes(place: number): Uint8Array {
  const [, byte, length] = idMarkers.find(([other]) => other === place)!;
  return new Uint8Array(length).fill(byte);
}

/** Returns the marker of a time. */
export function markerTime(place: number): bigint {
  const [, byte] = idMarkers.find(([other]) => other === place)!;
  return BigInt(byte) * 0x0101_0101_0101_0101n;
}

/** Returns the marker of a text; it may be part of a longer text. */
export function markerText(place: number): string {
  return textMarkers.find(([other]) => other === place)![1];
}

/** Returns an attribute whose number varies per span. */
export function variedInt(key: string, place: 12 | 13): KeyValue {
  const value = place === places.small ? smallMarker : largeMarker;
  return { key, value: { kind: "int", value } };
}

/** Builds a template from a span with markers. `varied` has the keys of `variedInt` attributes. */
export function templateOf(span: Span, varied: ReadonlyMap<string, number>): SpanTemplate {
  const bytes = spanBytes(span);
  const found: number[] = [];
  for (const [place, byte, length] of idMarkers) {
    pushAll(found, place, bytes, Buffer.alloc(length, byte));
  }
  for (const [place, text] of textMarkers) pushAll(found, place, bytes, Buffer.from(text));
  for (const [key, place] of varied) {
    // After the key come the tag and length of the value, the tag of its member, and the varint.
    const keyAt = bytes.indexOf(key);
    if (keyAt < 0) throw new SpoorError("Internal", `attribute ${key} is not in its span`);
    found.push(place, keyAt + key.length + 3);
  }
  return { bytes, places: Uint16Array.from(found) };
}

function pushAll(found: number[], place: number, bytes: Buffer, marker: Buffer): void {
  for (let at = bytes.indexOf(marker); at >= 0; at = bytes.indexOf(marker, at + marker.length)) {
    found.push(place, at);
  }
}

const emptyResource: Resource = { attributes: [], droppedAttributesCount: 0, entityRefs: [] };
const emptyScope: Scope = { name: "", version: "", attributes: [], droppedAttributesCount: 0 };

/** Encodes the span as a field of ScopeSpans, with tag and length. */
function spanBytes(span: Span): Buffer {
  const scopeSpans = [{ scope: emptyScope, spans: [span], schemaUrl: "" }];
  const resourceSpans = [{ resource: emptyResource, scopeSpans, schemaUrl: "" }];
  const request = encoded(resourceSpans);
  const reader = new WireReader(request);
  enter(reader);
  skipField(reader);
  enter(reader);
  skipField(reader);
  return Buffer.from(request.subarray(reader.pos));
}

export interface Envelope {
  /** Field 1 of ResourceSpans and field 1 of ScopeSpans, each with tag and length. */
  resource: Uint8Array;
  scope: Uint8Array;
}

/** Encodes the fields around the spans of one sender. */
export function envelopeOf(resource: Resource, scope: Scope): Envelope {
  const scopeSpans = [{ scope, spans: [], schemaUrl: "" }];
  const request = encoded([{ resource, scopeSpans, schemaUrl: "" }]);
  const reader = new WireReader(request);
  enter(reader);
  const resourceStart = reader.pos;
  skipField(reader);
  const resourceBytes = request.slice(resourceStart, reader.pos);
  enter(reader);
  return { resource: resourceBytes, scope: request.slice(reader.pos) };
}

function encoded(resourceSpans: ResourceSpans[]): Uint8Array {
  const writer = new WireWriter();
  writeTraceData(writer, { resourceSpans });
  return writer.bytes();
}

/** Moves the reader into the next message. */
function enter(reader: WireReader): void {
  reader.tag();
  reader.lengthEnd();
}

function skipField(reader: WireReader): void {
  reader.skip(reader.tag());
}
