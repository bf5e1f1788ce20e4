// HOT: runs per event and link of a span; measured by `npm run bench` (decode).
/**
 * Decodes events and links of a span from the wire to the head's lists. The reader is at the start
 * of the message, which ends at `end`; the caller resets the reader afterwards. The items belong to
 * row `head.rows`, the span that is being decoded.
 */
import type { WireReader } from "#pkg/bytes/bytes.ts";
import type { Head } from "./head.ts";
import type { Scratch } from "./scratch.ts";

/** Decodes a Span.Event: time 1, name 2, attributes 3, dropped 4. */
export function decodeEvent(head: Head, reader: WireReader, scratch: Scratch, end: number): void {
  const { buf } = reader;
  const { dictionaries, events } = head;
  let timeLo = 0,
    timeHi = 0,
    nameStart = 0,
    nameEnd = 0,
    dropped = 0;
  reader.end = end;
  scratch.length = 0;
  while (reader.pos < end) {
    const tag = reader.tag();
    if (tag === 9) {
      reader.fixed64();
      timeLo = reader.lo;
      timeHi = reader.hi;
    } else if (tag === 18) {
      nameEnd = reader.lengthEnd();
      nameStart = reader.pos;
      reader.pos = nameEnd;
    } else if (tag === 26) scratch.keepAttribute(reader, tag);
    else if (tag === 32) dropped = reader.varint32();
    else reader.skip(tag);
  }
  events.row.push(head.rows);
  events.time.push2(timeLo, timeHi);
  events.name.push(dictionaries.name.internText(buf, nameStart, nameEnd));
  events.attributes.push(dictionaries.attributes.intern(scratch.bytes, 0, scratch.length));
  events.dropped.push(dropped);
}

/** Decodes a Span.Link: trace id 1, span id 2, trace state 3, attributes 4, dropped 5, flags 6. */
export function decodeLink(head: Head, reader: WireReader, scratch: Scratch, end: number): void {
  const { buf } = reader;
  const { dictionaries, links } = head;
  let traceStart = 0,
    traceEnd = 0,
    spanStart = 0,
    spanEnd = 0;
  let traceState = 0,
    dropped = 0,
    flags = 0;
  reader.end = end;
  scratch.length = 0;
  while (reader.pos < end) {
    const tag = reader.tag();
    if (tag === 10 || tag === 18 || tag === 26) {
      const fieldEnd = reader.lengthEnd();
      if (tag === 10) {
        traceStart = reader.pos;
        traceEnd = fieldEnd;
      } else if (tag === 18) {
        spanStart = reader.pos;
        spanEnd = fieldEnd;
      } else traceState = dictionaries.traceState.internText(buf, reader.pos, fieldEnd);
      reader.pos = fieldEnd;
    } else if (tag === 34) scratch.keepAttribute(reader, tag);
    else if (tag === 40) dropped = reader.varint32();
    else if (tag === 53) flags = reader.fixed32();
    else reader.skip(tag);
  }
  links.row.push(head.rows);
  links.traceId.push(dictionaries.linkId.intern(buf, traceStart, traceEnd));
  links.spanId.push(dictionaries.linkId.intern(buf, spanStart, spanEnd));
  links.traceState.push(traceState);
  links.attributes.push(dictionaries.attributes.intern(scratch.bytes, 0, scratch.length));
  links.dropped.push(dropped);
  links.flags.push(flags);
}
