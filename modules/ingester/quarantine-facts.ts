/** Extracts facts about a record in quarantine without decoding its spans. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { WireReader } from "#pkg/bytes/bytes.ts";
import { SpoorError } from "#pkg/errors/errors.ts";

export interface RecordFacts {
  spans: number;
  minStartNano: bigint;
  maxEndNano: bigint;
  /** 16 bytes per trace; undefined if there are too many to keep. */
  traceIds: Uint8Array | undefined;
}

/** Most trace ids kept; with more, any trace may be in the record. */
const tracesMax = 65_536;
/** Spans per turn of the event loop. */
const spansPerTurn = 20_000;
const traceIdBytes = 16;

/**
 * Returns the facts of an ExportTraceServiceRequest; undefined if it does not parse or has no span.
 * Yields to the event loop regularly.
 */
export async function recordFacts(bytes: Uint8Array): Promise<RecordFacts | undefined> {
  const walk = new FactsWalk(bytes);
  try {
    for (const _turn of walk.turns()) await nextTurn();
  } catch (error) {
    if (error instanceof SpoorError) return undefined;
    throw error;
  }
  return walk.facts();
}

class FactsWalk {
  readonly #reader: WireReader;
  readonly #ids = new Set<string>();
  #spans = 0;
  #minStart = 2n ** 63n;
  #maxEnd = -(2n ** 63n);

  constructor(bytes: Uint8Array) {
    this.#reader = new WireReader(bytes);
  }

  facts(): RecordFacts | undefined {
    if (this.#spans === 0) return undefined;
    const isMany = this.#ids.size > tracesMax;
    return {
      spans: this.#spans,
      minStartNano: this.#minStart,
      maxEndNano: this.#maxEnd,
      traceIds: isMany ? undefined : Buffer.from([...this.#ids].join(""), "latin1"),
    };
  }

  /** Walks the record; yields where the event loop may run. */
  *turns(): Generator<undefined> {
    for (const resourceEnd of this.#fields(1, this.#reader.end)) {
      for (const scopeEnd of this.#fields(2, resourceEnd)) {
        for (const spanEnd of this.#fields(2, scopeEnd)) {
          this.#span(spanEnd);
          if (this.#spans % spansPerTurn === 0) yield;
        }
      }
    }
  }

  /** Yields the end of each message with this field number, with the reader at its start. */
  *#fields(field: number, end: number): Generator<number> {
    const reader = this.#reader;
    const wanted = (field << 3) | 2;
    while (reader.pos < end) {
      const tag = reader.tag();
      if (tag !== wanted) reader.skip(tag);
      else {
        const fieldEnd = reader.lengthEnd();
        yield fieldEnd;
        reader.pos = fieldEnd;
      }
    }
  }

  /** Reads the fields of a span: trace id 1, start 7, end 8. */
  #span(end: number): void {
    const reader = this.#reader;
    let start = 0n;
    let spanEnd = 0n;
    while (reader.pos < end) {
      const tag = reader.tag();
      if (tag === 10) {
        const idEnd = reader.lengthEnd();
        this.#noteId(reader.pos, idEnd);
        reader.pos = idEnd;
      } else if (tag === 57) start = this.#time();
      else if (tag === 65) spanEnd = this.#time();
      else reader.skip(tag);
    }
    this.#spans++;
    if (start < this.#minStart) this.#minStart = start;
    // A span that ends before it starts counts as ending at its start.
    const last = spanEnd < start ? start : spanEnd;
    if (last > this.#maxEnd) this.#maxEnd = last;
  }

  #noteId(from: number, to: number): void {
    if (to - from !== traceIdBytes || this.#ids.size > tracesMax) return;
    const { buf } = this.#reader;
    this.#ids.add(Buffer.from(buf.buffer, buf.byteOffset + from, traceIdBytes).toString("latin1"));
  }

  #time(): bigint {
    this.#reader.fixed64();
    return BigInt.asIntN(64, (BigInt(this.#reader.hi) << 32n) | BigInt(this.#reader.lo));
  }
}
