// HOT: decodes every ingested span; measured by `npm run bench` (decode).
/**
 * Decodes one record (an OTLP ExportTraceServiceRequest) straight from the wire into a head: no
 * object per span, no string per attribute. Field numbers: opentelemetry-proto
 * trace/v1/trace.proto. The distributor has validated the bytes; a record that still does not parse
 * throws InvalidInput and leaves the head as it was.
 */
import { WireReader } from "#pkg/bytes/bytes.ts";
import { decodeEvent, decodeLink } from "./head-decode-lists.ts";
import { Scratch } from "./scratch.ts";
import { type Head, sparseBool, sparseDouble, sparseInt, sparseString } from "./head.ts";

const tagBytes1 = (1 << 3) | 2;
const tagBytes2 = (2 << 3) | 2;
const tagBytes3 = (3 << 3) | 2;
const noBytes: Uint8Array = new Uint8Array(0);

export class HeadDecoder {
  readonly #head: Head;
  readonly #reader = new WireReader(noBytes);
  readonly #scratch = new Scratch();
  /** By key code: the last span with the key, as numbered by `#span`. */
  #seen = new Uint32Array(256);
  #span = 0;

  constructor(head: Head) {
    this.#head = head;
  }

  /** Appends all spans of `record`; returns their number. Throws InvalidInput, see above. */
  decode(record: Uint8Array): number {
    const head = this.#head;
    const rows = head.rows;
    const reader = this.#reader;
    reader.reset(record, 0, record.length);
    try {
      while (reader.pos < reader.end) {
        const tag = reader.tag();
        if (tag === tagBytes1) {
          const end = reader.lengthEnd();
          this.#resourceSpans(reader.pos, end);
          reader.reset(record, end, record.length);
        } else reader.skip(tag);
      }
    } catch (error) {
      head.rollback(rows);
      throw error;
    }
    return head.rows - rows;
  }

  #resourceSpans(pos: number, end: number): void {
    const reader = this.#reader;
    const { buf } = reader;
    const { dictionaries } = this.#head;
    // The envelope's own fields are read first, because they may come after the spans.
    const schema = this.#ownFields(pos, end);
    const resource = dictionaries.resource.intern(this.#scratch.bytes, 0, this.#scratch.length);
    reader.reset(buf, pos, end);
    while (reader.pos < end) {
      const tag = reader.tag();
      if (tag === tagBytes2) {
        const fieldEnd = reader.lengthEnd();
        this.#scopeSpans(reader.pos, fieldEnd, resource, schema);
        reader.reset(buf, fieldEnd, end);
      } else reader.skip(tag);
    }
  }

  /**
   * Reads the fields of a ResourceSpans or ScopeSpans except its list. Field 1 (resource or scope)
   * goes to the scratch. Returns the code of field 3, the schema URL.
   */
  #ownFields(pos: number, end: number): number {
    const reader = this.#reader;
    const { buf } = reader;
    reader.reset(buf, pos, end);
    this.#scratch.length = 0;
    let schema = 0;
    while (reader.pos < end) {
      const tag = reader.tag();
      if (tag === tagBytes1) this.#scratch.keepField(reader, reader.lengthEnd());
      else if (tag === tagBytes3) {
        const fieldEnd = reader.lengthEnd();
        schema = this.#head.dictionaries.schemaUrl.internText(buf, reader.pos, fieldEnd);
        reader.pos = fieldEnd;
      } else reader.skip(tag);
    }
    return schema;
  }

  #scopeSpans(pos: number, end: number, resource: number, resourceSchema: number): void {
    const reader = this.#reader;
    const { buf } = reader;
    const { dictionaries } = this.#head;
    const schema = this.#ownFields(pos, end);
    const scope = dictionaries.scope.intern(this.#scratch.bytes, 0, this.#scratch.length);
    const envelope = this.#head.envelope(resource, resourceSchema, scope, schema);
    reader.reset(buf, pos, end);
    while (reader.pos < end) {
      const tag = reader.tag();
      if (tag === tagBytes2) {
        const fieldEnd = reader.lengthEnd();
        this.#spanMessage(reader.pos, fieldEnd, envelope);
        reader.reset(buf, fieldEnd, end);
      } else reader.skip(tag);
    }
  }

  #spanMessage(pos: number, end: number, envelope: number): void {
    this.#span++;
    const head = this.#head;
    const reader = this.#reader;
    const { buf } = reader;
    const { dictionaries, rowArrays } = head;
    const row = head.rows;
    let traceAt = 0,
      traceSize = 0,
      spanAt = 0,
      spanSize = 0,
      parentAt = 0,
      parentSize = 0;
    let startLo = 0,
      startHi = 0,
      endLo = 0,
      endHi = 0;
    let nameStart = 0,
      nameEnd = 0;
    let kind = 0,
      flags = 0,
      traceState = 0;
    let droppedAttributes = 0,
      droppedEvents = 0,
      droppedLinks = 0;
    let status = 0,
      statusMessage = 0;
    reader.reset(buf, pos, end);
    while (reader.pos < end) {
      const tag = reader.tag();
      switch (tag) {
        case 10:
        case 18:
        case 34: {
          const fieldEnd = reader.lengthEnd();
          const size = fieldEnd - reader.pos;
          // The last occurrence of a field counts, so sizes are checked after all fields.
          if (tag === 10) {
            traceAt = reader.pos;
            traceSize = size;
          } else if (tag === 18) {
            spanAt = reader.pos;
            spanSize = size;
          } else {
            parentAt = reader.pos;
            parentSize = size;
          }
          reader.pos = fieldEnd;
          break;
        }
        case 26: {
          const fieldEnd = reader.lengthEnd();
          traceState = dictionaries.traceState.internText(buf, reader.pos, fieldEnd);
          reader.pos = fieldEnd;
          break;
        }
        case 42:
          nameEnd = reader.lengthEnd();
          nameStart = reader.pos;
          reader.pos = nameEnd;
          break;
        case 48:
          kind = reader.varint32();
          break;
        case 57:
          reader.fixed64();
          startLo = reader.lo;
          startHi = reader.hi;
          break;
        case 65:
          reader.fixed64();
          endLo = reader.lo;
          endHi = reader.hi;
          break;
        case 74: {
          const fieldEnd = reader.lengthEnd();
          this.#attribute(reader.pos, fieldEnd, row);
          reader.reset(buf, fieldEnd, end);
          break;
        }
        case 80:
          droppedAttributes = reader.varint32();
          break;
        case 90: {
          const fieldEnd = reader.lengthEnd();
          decodeEvent(head, reader, this.#scratch, fieldEnd);
          reader.reset(buf, fieldEnd, end);
          break;
        }
        case 96:
          droppedEvents = reader.varint32();
          break;
        case 106: {
          const fieldEnd = reader.lengthEnd();
          decodeLink(head, reader, this.#scratch, fieldEnd);
          reader.reset(buf, fieldEnd, end);
          break;
        }
        case 112:
          droppedLinks = reader.varint32();
          break;
        case 122: {
          const fieldEnd = reader.lengthEnd();
          reader.end = fieldEnd;
          while (reader.pos < fieldEnd) {
            const inner = reader.tag();
            if (inner === 18) {
              const textEnd = reader.lengthEnd();
              statusMessage = dictionaries.statusMessage.internText(buf, reader.pos, textEnd);
              reader.pos = textEnd;
            } else if (inner === 24) status = reader.varint32();
            else reader.skip(inner);
          }
          reader.end = end;
          break;
        }
        case 133:
          flags = reader.fixed32();
          break;
        default:
          reader.skip(tag);
      }
    }
    if (traceSize !== 16) reader.fail(`trace id of ${traceSize} bytes`);
    if (spanSize !== 8) reader.fail(`span id of ${spanSize} bytes`);
    if (parentSize !== 8 && parentSize !== 0) reader.fail(`parent span id of ${parentSize} bytes`);
    rowArrays.trace.push(head.traceIds.intern(buf, traceAt));
    rowArrays.spanId.push2(bigEndian(buf, spanAt), bigEndian(buf, spanAt + 4));
    if (parentSize === 0) rowArrays.parentId.push2(0, 0);
    else rowArrays.parentId.push2(bigEndian(buf, parentAt), bigEndian(buf, parentAt + 4));
    rowArrays.start.push2(startLo, startHi);
    rowArrays.end.push2(endLo, endHi);
    rowArrays.name.push(dictionaries.name.internText(buf, nameStart, nameEnd));
    rowArrays.kind.push(kind);
    rowArrays.status.push(status);
    rowArrays.statusMessage.push(statusMessage);
    rowArrays.traceState.push(traceState);
    rowArrays.flags.push(flags);
    rowArrays.droppedAttributes.push(droppedAttributes);
    rowArrays.droppedEvents.push(droppedEvents);
    rowArrays.droppedLinks.push(droppedLinks);
    rowArrays.envelope.push(envelope);
    head.rows = row + 1;
  }

  /** Decodes a KeyValue of a span. The usual form (key, then one scalar) bypasses the reader. */
  #attribute(pos: number, end: number, row: number): void {
    const { buf } = this.#reader;
    if (end - pos < 4 || buf[pos] !== 0x0a || buf[pos + 1] >= 0x80) {
      this.#attributeSlow(pos, end, row);
      return;
    }
    const keyEnd = pos + 2 + buf[pos + 1];
    const valueStart = keyEnd + 2;
    if (valueStart > end || buf[keyEnd] !== 0x12 || buf[keyEnd + 1] !== end - valueStart) {
      this.#attributeSlow(pos, end, row);
      return;
    }
    const key = this.#head.dictionaries.key.internText(buf, pos + 2, keyEnd);
    this.#value(key, valueStart, end, row);
  }

  #attributeSlow(pos: number, end: number, row: number): void {
    const reader = this.#reader;
    reader.reset(reader.buf, pos, end);
    let keyStart = 0,
      keyEnd = 0,
      valueStart = 0,
      valueEnd = 0;
    let values = 0;
    this.#scratch.length = 0;
    while (reader.pos < end) {
      const tag = reader.tag();
      if (tag === tagBytes1) {
        keyEnd = reader.lengthEnd();
        keyStart = reader.pos;
        reader.pos = keyEnd;
      } else if (tag === tagBytes2) {
        valueEnd = reader.lengthEnd();
        valueStart = reader.pos;
        this.#scratch.keepField(reader, valueEnd);
        values++;
      } else reader.skip(tag);
    }
    const { dictionaries } = this.#head;
    const key = dictionaries.key.internText(reader.buf, keyStart, keyEnd);
    if (values === 1) {
      this.#value(key, valueStart, valueEnd, row);
      return;
    }
    const value = dictionaries.restValue.intern(this.#scratch.bytes, 0, this.#scratch.length);
    if (this.#isRepeat(key)) this.#moveToRest(key, row);
    this.#rest(key, value, row);
  }

  /** Returns whether this span had the key before, and records the key. */
  #isRepeat(key: number): boolean {
    if (key >= this.#seen.length) {
      const grown = new Uint32Array(Math.max(key + 1, this.#seen.length * 2));
      grown.set(this.#seen);
      this.#seen = grown;
    }
    const isRepeat = this.#seen[key] === this.#span;
    this.#seen[key] = this.#span;
    return isRepeat;
  }

  /** Moves the row's value of a key from its sparse column, if it is in one, to the rest list. */
  #moveToRest(key: number, row: number): void {
    const { restValue } = this.#head.dictionaries;
    const bytes = this.#head.takeSparse(key, row);
    if (bytes !== undefined) this.#rest(key, restValue.intern(bytes, 0, bytes.length), row);
  }

  /**
   * Decodes the AnyValue at [pos, end). A scalar goes to its sparse column, other values go to the
   * rest list. All values of a repeated key go to the rest list, in order: the last one counts.
   */
  #value(key: number, pos: number, end: number, row: number): void {
    if (this.#isRepeat(key)) this.#moveToRest(key, row);
    else if (pos < end && this.#scalar(key, pos, end, row)) return;
    const { restValue } = this.#head.dictionaries;
    this.#rest(key, restValue.intern(this.#reader.buf, pos, end), row);
  }

  #rest(key: number, value: number, row: number): void {
    const { rest } = this.#head;
    rest.row.push(row);
    rest.key.push(key);
    rest.value.push(value);
  }

  /** Stores the AnyValue if it is one scalar field; returns whether it was stored. */
  #scalar(key: number, pos: number, end: number, row: number): boolean {
    const head = this.#head;
    const reader = this.#reader;
    const { buf } = reader;
    const tag = buf[pos];
    let type = 0;
    reader.reset(buf, pos + 1, end);
    if (tag === 0x0a) {
      type = sparseString;
      if (reader.lengthEnd() !== end) return false;
    } else if (tag === 0x10 || tag === 0x18) {
      type = tag === 0x10 ? sparseBool : sparseInt;
      reader.varint64();
      if (reader.pos !== end) return false;
    } else if (tag === 0x21) {
      type = sparseDouble;
      if (end - reader.pos !== 8) return false;
      reader.fixed64();
    } else return false;
    const column = head.sparseColumn(key, type);
    if (column === undefined) return false;
    if (type === sparseString) {
      column.values.push(column.dictionary!.internText(buf, reader.pos, end));
    } else if (type === sparseBool) column.values.push((reader.lo | reader.hi) === 0 ? 0 : 1);
    else column.values.push2(reader.lo, reader.hi);
    column.rows.push(row);
    return true;
  }
}

function bigEndian(src: Uint8Array, pos: number): number {
  return ((src[pos] << 24) | (src[pos + 1] << 16) | (src[pos + 2] << 8) | src[pos + 3]) >>> 0;
}
