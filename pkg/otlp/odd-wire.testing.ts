/**
 * Test data: random but valid wire bytes of a trace.
 *
 * It shares no code with our encoder and uses everything that protobuf allows: shuffled fields,
 * explicit defaults, values that a later occurrence replaces, singular messages in two halves,
 * unknown fields, padded varints.
 */
import type { AnyValue, KeyValue, ScopeSpans, Span, TraceData } from "./trace-data.ts";

/** One encoded field, or the halves of a singular message, which stay in order. */
interface Chunk {
  field: number;
  bytes: number[];
}

/** Encodes `data` in one of the many ways that protobuf allows; `dice` yields numbers 0-99. */
export function oddWire(data: TraceData, dice: Iterator<number>): Uint8Array {
  return Uint8Array.from(new OddWriter(() => dice.next().value as number).traceData(data));
}

class OddWriter {
  #roll: () => number;

  constructor(roll: () => number) {
    this.#roll = roll;
  }

  traceData(data: TraceData): number[] {
    const chunks = data.resourceSpans.map((one) => {
      const parts: Chunk[] = [
        ...this.#halves(1, one.resource.attributes, (half, isLast) => [
          ...half.map((kv) => this.#bytes(1, this.#keyValue(kv))),
          ...(isLast ? this.#uint(2, one.resource.droppedAttributesCount) : []),
          ...(isLast ? one.resource.entityRefs : []).map((ref) =>
            this.#bytes(
              3,
              this.#join([
                ...this.#text(1, ref.schemaUrl),
                ...this.#text(2, ref.type),
                ...ref.idKeys.map((key) => this.#bytes(3, utf8(key))),
                ...ref.descriptionKeys.map((key) => this.#bytes(4, utf8(key))),
              ]),
            ),
          ),
        ]),
        ...one.scopeSpans.map((scoped) => this.#bytes(2, this.#scopeSpans(scoped))),
        ...this.#text(3, one.schemaUrl),
      ];
      return this.#bytes(1, this.#join(parts));
    });
    return this.#join(chunks);
  }

  #scopeSpans(one: ScopeSpans): number[] {
    return this.#join([
      ...this.#halves(1, one.scope.attributes, (half, isLast) => [
        ...(isLast ? this.#text(1, one.scope.name) : []),
        ...(isLast ? this.#text(2, one.scope.version) : []),
        ...half.map((kv) => this.#bytes(3, this.#keyValue(kv))),
        ...(isLast ? this.#uint(4, one.scope.droppedAttributesCount) : []),
      ]),
      ...one.spans.map((span) => this.#bytes(2, this.#span(span))),
      ...this.#text(3, one.schemaUrl),
    ]);
  }

  #span(span: Span): number[] {
    const { status } = span;
    return this.#join([
      ...this.#raw(1, span.traceId),
      ...this.#raw(2, span.spanId),
      ...this.#text(3, span.traceState),
      ...this.#raw(4, span.parentSpanId),
      ...this.#text(5, span.name),
      ...this.#int64(6, BigInt(span.kind)),
      ...this.#fixed(7, span.startTimeUnixNano, 8),
      ...this.#fixed(8, span.endTimeUnixNano, 8),
      ...span.attributes.map((kv) => this.#bytes(9, this.#keyValue(kv))),
      ...this.#uint(10, span.droppedAttributesCount),
      ...span.events.map((event) =>
        this.#bytes(
          11,
          this.#join([
            ...this.#fixed(1, event.timeUnixNano, 8),
            ...this.#text(2, event.name),
            ...event.attributes.map((kv) => this.#bytes(3, this.#keyValue(kv))),
            ...this.#uint(4, event.droppedAttributesCount),
          ]),
        ),
      ),
      ...this.#uint(12, span.droppedEventsCount),
      ...span.links.map((link) =>
        this.#bytes(
          13,
          this.#join([
            ...this.#raw(1, link.traceId),
            ...this.#raw(2, link.spanId),
            ...this.#text(3, link.traceState),
            ...link.attributes.map((kv) => this.#bytes(4, this.#keyValue(kv))),
            ...this.#uint(5, link.droppedAttributesCount),
            ...this.#fixed(6, BigInt(link.flags), 4),
          ]),
        ),
      ),
      ...this.#uint(14, span.droppedLinksCount),
      ...this.#halves(15, [1, 2], (half, isLast) => [
        ...(half.includes(1) ? this.#text(2, status.message) : []),
        ...(isLast ? this.#int64(3, BigInt(status.code)) : []),
      ]),
      ...this.#fixed(16, BigInt(span.flags), 4),
    ]);
  }

  #keyValue({ key, value }: KeyValue): number[] {
    const parts = this.#text(1, key);
    if (value.kind === "empty") {
      if (this.#roll() < 50) parts.push(this.#bytes(2, this.#unknown()));
    } else parts.push(...this.#mergedValue(2, value));
    if (this.#roll() < 5) parts.push({ field: 3, bytes: [...this.#tag(3, 0), 7] });
    return this.#join(parts);
  }

  /** Writes a value in one or two messages: arrays merge, other values are replaced. */
  #mergedValue(field: number, value: AnyValue): Chunk[] {
    const rolled = this.#roll();
    if (rolled < 10) {
      const other: AnyValue =
        value.kind === "string" ? { kind: "bool", value: false } : { kind: "string", value: "x" };
      return [this.#bytes(field, this.#value(other)), this.#bytes(field, this.#value(value))];
    }
    if (rolled < 20 && value.kind === "array") {
      const [a, b] = [value.values.slice(0, 1), value.values.slice(1)];
      return [
        this.#bytes(field, this.#value({ kind: "array", values: a }, true)),
        this.#bytes(field, this.#value({ kind: "array", values: b }, true)),
      ];
    }
    if (rolled < 30) return [this.#bytes(field, this.#value(value)), this.#bytes(field, [])];
    return [this.#bytes(field, this.#value(value))];
  }

  /** Writes a value. Members of a oneof keep their order, because the last one wins. */
  #value(value: AnyValue, isHalf = false): number[] {
    switch (value.kind) {
      case "string":
        return [...this.#decoy(), ...this.#bytes(1, utf8(value.value)).bytes];
      case "bool":
        return [...this.#decoy(), ...this.#tag(2, 0), ...this.#varint(value.value ? 1n : 0n)];
      case "int":
        return [...this.#decoy(), ...this.#tag(3, 0), ...this.#varint(value.value)];
      case "double":
        return [...this.#decoy(), ...this.#tag(4, 1), ...doubleBytes(value.value)];
      case "array": {
        const items = value.values.map((one) => this.#bytes(1, this.#value(one)));
        return [...(isHalf ? [] : this.#decoy()), ...this.#bytes(5, this.#join(items)).bytes];
      }
      case "kvlist": {
        const items = value.values.map((one) => this.#bytes(1, this.#keyValue(one)));
        return [...this.#decoy(), ...this.#bytes(6, this.#join(items)).bytes];
      }
      case "bytes":
        return [...this.#decoy(), ...this.#bytes(7, value.value).bytes];
      default:
        return this.#unknown();
    }
  }

  /** Sometimes writes another member of AnyValue, which the following right one replaces. */
  #decoy(): number[] {
    const rolled = this.#roll();
    if (rolled < 5) return [...this.#tag(4, 1), ...doubleBytes(4.5), ...this.#tag(2, 0), 1];
    return rolled < 10 ? this.#unknown() : [];
  }

  /** Writes a singular message, sometimes as two messages that merge. */
  #halves<T>(field: number, list: T[], make: (half: T[], isLast: boolean) => Chunk[]): Chunk[] {
    if (this.#roll() < 80) return [this.#bytes(field, this.#join(make(list, true)))];
    return [
      this.#bytes(field, this.#join(make(list.slice(0, 1), false))),
      this.#bytes(field, this.#join(make(list.slice(1), true))),
    ];
  }

  #text(field: number, value: string): Chunk[] {
    return this.#raw(field, utf8(value));
  }

  /** Writes a singular bytes field, sometimes after a decoy; an empty one is sometimes omitted. */
  #raw(field: number, value: Uint8Array): Chunk[] {
    const rolled = this.#roll();
    if (rolled < 5) return [this.#bytes(field, [1, 2, 3]), this.#bytes(field, value)];
    return value.length === 0 && rolled < 60 ? [] : [this.#bytes(field, value)];
  }

  #uint(field: number, value: number): Chunk[] {
    return this.#int64(field, BigInt(value));
  }

  #int64(field: number, value: bigint): Chunk[] {
    const rolled = this.#roll();
    if (value === 0n && rolled < 60) return [];
    const right = { field, bytes: [...this.#tag(field, 0), ...this.#varint(value)] };
    return rolled < 5 ? [{ field, bytes: [...this.#tag(field, 0), 9] }, right] : [right];
  }

  #fixed(field: number, value: bigint, size: 4 | 8): Chunk[] {
    if (value === 0n && this.#roll() < 60) return [];
    const bytes = this.#tag(field, size === 8 ? 1 : 5);
    for (let i = 0n; i < size; i++) bytes.push(Number((value >> (8n * i)) & 0xffn));
    return [{ field, bytes }];
  }

  #bytes(field: number, value: Uint8Array | number[]): Chunk {
    const head = [...this.#tag(field, 2), ...this.#varint(BigInt(value.length))];
    return { field, bytes: head.concat([...value]) };
  }

  #tag(field: number, wireType: number): number[] {
    return this.#varint(BigInt(field * 8 + wireType));
  }

  /** Encodes a varint, sometimes with padding. */
  #varint(value: bigint): number[] {
    const bytes: number[] = [];
    for (let rest = BigInt.asUintN(64, value); rest > 0n || bytes.length === 0; rest >>= 7n) {
      bytes.push(Number(rest & 0x7fn) | 0x80);
    }
    const padding = this.#roll() < 3 ? Math.min(2, 10 - bytes.length) : 0;
    for (let i = 0; i < padding; i++) bytes.push(0x80);
    bytes[bytes.length - 1] &= 0x7f;
    return bytes;
  }

  #unknown(): number[] {
    const rolled = this.#roll();
    const field = 1000 + rolled;
    if (rolled < 25) return [...this.#tag(field, 0), ...this.#varint(-1n)];
    if (rolled < 50) return [...this.#tag(field, 1), 1, 2, 3, 4, 5, 6, 7, 8];
    if (rolled < 75) return [...this.#tag(field, 5), 1, 2, 3, 4];
    return this.#bytes(field, [0xff, 0xff, 0xff]).bytes;
  }

  /** Joins chunks in a random order; chunks of one field keep their relative order. */
  #join(chunks: Chunk[]): number[] {
    const slots = chunks.map(({ field }) => ({ field, at: this.#roll() }));
    slots.sort((a, b) => a.at - b.at);
    const queues = Map.groupBy(chunks, ({ field }) => field);
    const joined: number[] = [];
    for (const { field } of slots) {
      if (this.#roll() < 3) joined.push(...this.#unknown());
      joined.push(...queues.get(field)!.shift()!.bytes);
    }
    return joined;
  }
}

function utf8(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

function doubleBytes(value: number): number[] {
  return [...new Uint8Array(new Float64Array([value]).buffer)];
}
