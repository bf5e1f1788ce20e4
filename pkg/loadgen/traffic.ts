// HOT: runs per span; measured by `npm run bench` (generate).
/**
 * Traffic of a shop of 50 services as OTLP requests, the same for the same seed. Requests look as
 * SDKs send them: spans of one service instance, of many traces.
 *
 * Spans are copies of templates with ids, times and numbers patched in, so that a generator takes
 * a small part of the CPU of what it loads. In a request the bytes stand like this; the head is
 * written last, right before the spans, when their size is known:
 *
 *     | room | ResourceSpans: tag, size | resource | ScopeSpans: tag, size | scope | spans ... |
 */
import { varintSize } from "#pkg/bytes/wire-writer.ts";
import { SeededRandom } from "./random.ts";
import { drawShapes, type Shapes, type TraceShape } from "./shape.ts";
import { instancesPerService, type Service, services } from "./shop.ts";
import { type Envelope, envelopeOf, places, type SpanTemplate } from "./template.ts";

export interface TrafficOptions {
  seed: number;
  /** Spans after which an instance sends what it has, though its request is not full. */
  lingerSpans?: number;
  /** Generates this many traces; by default without end. */
  tracesMax?: number;
}

export interface TrafficRequest {
  /** An ExportTraceServiceRequest; nobody else has its memory. */
  body: Uint8Array;
  spanCount: number;
}

const commonShapes = 500;
const largeShapes = 6;
/** One trace of so many has thousands of spans. */
const tracesPerLarge = 4096;
const errorShare = 0.03;
const slowShare = 0.01;
/** Two tags and two sizes of up to five bytes. */
const headRoomBytes = 12;
const earlierCount = 64;
const hexDigits: Uint8Array = Buffer.from("0123456789abcdef");
const twoTo32 = 4_294_967_296;

export class Traffic {
  /** What was generated so far; spans that stand in no request yet count. */
  traceCount = 0;
  spanCount = 0;
  readonly #random: SeededRandom;
  readonly #lingerSpans: number;
  readonly #tracesMax: number;
  readonly #shapes: Shapes;
  readonly #batches: Batch[];
  readonly #ready: TrafficRequest[] = [];
  #cursor = 0;
  /** Ids of the trace that is being written: 16 bytes, then 8 per span. */
  #ids: Uint8Array = new Uint8Array(16 + 8 * 64);
  #failed: Uint8Array = new Uint8Array(64);
  /** Trace and root span ids of some earlier traces, 24 bytes each. */
  readonly #earlier: Uint8Array = new Uint8Array(24 * earlierCount);
  /** Text of the trace that is being written: order, user, session. */
  readonly #texts: Uint8Array = new Uint8Array(32);

  constructor({ seed, lingerSpans = 20_000, tracesMax = Infinity }: TrafficOptions) {
    const random = new SeededRandom(seed);
    this.#random = random;
    this.#lingerSpans = lingerSpans;
    this.#tracesMax = tracesMax;
    this.#shapes = drawShapes(random, commonShapes, largeShapes);
    this.#batches = services.flatMap((service) =>
      Array.from({ length: instancesPerService }, (_, i) => new Batch(service, i)),
    );
    fillRandom(random, this.#earlier, 0, this.#earlier.length);
  }

  /**
   * The next request that is full or has waited; its spans have ended at `nowMs` or a moment ago.
   * Undefined when all traces are generated: the rest is in `finish`.
   */
  next(nowMs: number): TrafficRequest | undefined {
    for (;;) {
      const request = this.#ready.shift();
      if (request !== undefined || this.traceCount >= this.#tracesMax) return request;
      this.#writeTrace(nowMs);
      this.#flushOld();
    }
  }

  /** The requests that were not full. */
  finish(): TrafficRequest[] {
    const rest = this.#batches.filter(({ spanCount }) => spanCount > 0);
    return [...this.#ready.splice(0), ...rest.map((batch) => batch.take())];
  }

  #writeTrace(nowMs: number): void {
    const random = this.#random;
    const isLarge = this.traceCount % tracesPerLarge === tracesPerLarge / 2;
    const shape = random.pick(isLarge ? this.#shapes.large : this.#shapes.common);
    const stretch = stretchOf(random);
    // As two halves: nanoseconds since 1970 do not fit into a number.
    const startMs = nowMs - (shape.durationNanos[0] * stretch) / 1e6;
    const startNano = BigInt(Math.floor(startMs)) * 1_000_000n + BigInt(random.below(1_000_000));
    const startLo = Number(startNano & 0xffff_ffffn);
    const startHi = Number(startNano >> 32n);
    this.#drawTrace(shape.size);
    this.#drawFailure(shape);
    const instance = random.below(instancesPerService);
    for (let i = 0; i < shape.size; i++) {
      const service = shape.service[i];
      const at = service * instancesPerService + ((service + instance) % instancesPerService);
      const batch = this.#batches[at];
      const template = shape.templates[i][this.#failed[i]];
      if (batch.spanCount === 0) batch.openedAt = this.spanCount;
      const pos = batch.append(template);
      const offset = Math.floor(shape.startNanos[i] * stretch);
      const duration = Math.floor(shape.durationNanos[i] * stretch);
      const parentAt = 16 + 8 * shape.parent[i];
      this.#patch(
        template,
        batch.buf,
        pos,
        16 + 8 * i,
        parentAt,
        startLo + offset,
        startHi,
        duration,
      );
      this.spanCount++;
      if (batch.isFull()) this.#ready.push(batch.take());
    }
    this.#earlier.set(this.#ids.subarray(0, 24), 24 * (this.traceCount % earlierCount));
    this.traceCount++;
  }

  #drawTrace(size: number): void {
    const random = this.#random;
    if (this.#failed.length < size) {
      this.#failed = new Uint8Array(size * 2);
      this.#ids = new Uint8Array(16 + 8 * size * 2);
    }
    fillRandom(random, this.#ids, 0, 16 + 8 * size);
    const texts = this.#texts;
    writeHex(texts, 0, random.uint32());
    // Some users come often, most of them seldom.
    const share = random.float();
    let user = Math.floor(share * share * 1_000_000);
    for (let i = 5; i >= 0; i--) {
      texts[8 + i] = 0x30 + (user % 10);
      user = Math.floor(user / 10);
    }
    writeHex(texts, 14, random.uint32());
    writeHex(texts, 22, random.uint32());
  }

  /** Some traces have a span that fails, and then some or all of its callers fail too. */
  #drawFailure({ size, parent }: TraceShape): void {
    const random = this.#random;
    this.#failed.fill(0, 0, size);
    if (random.float() >= errorShare) return;
    let at = random.below(size);
    for (;;) {
      this.#failed[at] = 1;
      if (at === 0 || random.float() < 0.25) return;
      at = parent[at];
    }
  }

  #patch(
    template: SpanTemplate,
    buf: Buffer,
    pos: number,
    spanIdAt: number,
    parentIdAt: number,
    startLo: number,
    startHi: number,
    duration: number,
  ): void {
    const ids = this.#ids;
    const list = template.places;
    for (let i = 0; i < list.length; i += 2) {
      const at = pos + list[i + 1];
      switch (list[i]) {
        case places.traceId:
          copy(ids, 0, 16, buf, at);
          break;
        case places.spanId:
          copy(ids, spanIdAt, 8, buf, at);
          break;
        case places.parentId:
          copy(ids, parentIdAt, 8, buf, at);
          break;
        case places.start:
          writeTime(buf, at, startLo, startHi);
          break;
        case places.end:
          writeTime(buf, at, startLo + duration, startHi);
          break;
        case places.middle:
          writeTime(buf, at, startLo + Math.floor(duration / 2), startHi);
          break;
        default:
          this.#patchOther(list[i], buf, at);
      }
    }
  }

  #patchOther(place: number, buf: Buffer, at: number): void {
    const random = this.#random;
    // The trace that was finished last but 20.
    const earlierAt = 24 * ((this.traceCount + earlierCount - 20) % earlierCount);
    switch (place) {
      case places.earlierTraceId:
        copy(this.#earlier, earlierAt, 16, buf, at);
        break;
      case places.earlierSpanId:
        copy(this.#earlier, earlierAt + 16, 8, buf, at);
        break;
      case places.order:
        copy(this.#texts, 0, 8, buf, at);
        break;
      case places.user:
        copy(this.#texts, 8, 6, buf, at);
        break;
      case places.session:
        copy(this.#texts, 14, 16, buf, at);
        break;
      case places.unique:
        writeHex(buf, at, random.uint32());
        writeHex(buf, at + 8, random.uint32());
        break;
      case places.small:
        buf[at] = random.uint32() & 0x7f;
        break;
      default: {
        const value = random.uint32();
        buf[at] = 0x80 | value;
        buf[at + 1] = 0x80 | (value >>> 8);
        buf[at + 2] = 1 + ((value >>> 16) % 127);
      }
    }
  }

  /** Looks at a few instances each time: one that has waited long sends what it has. */
  #flushOld(): void {
    for (let i = 0; i < 4; i++) {
      const batch = this.#batches[this.#cursor];
      this.#cursor = (this.#cursor + 1) % this.#batches.length;
      const waited = this.spanCount - batch.openedAt;
      if (batch.spanCount > 0 && waited >= this.#lingerSpans) this.#ready.push(batch.take());
    }
  }
}

/** The spans that one service instance has not sent yet. */
class Batch {
  buf: Buffer;
  spanCount = 0;
  /** Spans generated in all when the first of these was. */
  openedAt = 0;
  readonly #envelope: Envelope;
  readonly #spansMax: number;
  readonly #headBytes: number;
  #end: number;

  constructor(service: Service, instance: number) {
    this.#envelope = senderOf(service, instance);
    this.#spansMax = [64, 128, 256, 512][(service.index + instance) % 4];
    const { resource, scope } = this.#envelope;
    this.#headBytes = headRoomBytes + resource.length + scope.length;
    this.#end = this.#headBytes;
    this.buf = Buffer.allocUnsafeSlow(this.#headBytes + this.#spansMax * 500);
  }

  isFull(): boolean {
    return this.spanCount === this.#spansMax;
  }

  /** Copies a span; returns where it begins. */
  append({ bytes }: SpanTemplate): number {
    const pos = this.#end;
    if (pos + bytes.length > this.buf.length) {
      const grown = Buffer.allocUnsafeSlow(this.buf.length * 2);
      this.buf.copy(grown, 0, 0, pos);
      this.buf = grown;
    }
    this.buf.set(bytes, pos);
    this.#end = pos + bytes.length;
    this.spanCount++;
    return pos;
  }

  /** The request of the spans so far. */
  take(): TrafficRequest {
    const { resource, scope } = this.#envelope;
    const { buf, spanCount } = this;
    const scopeSize = scope.length + this.#end - this.#headBytes;
    const size = resource.length + 1 + varintSize(scopeSize) + scopeSize;
    let pos = this.#end - (1 + varintSize(size) + size);
    const start = pos;
    pos = writeHead(buf, pos, 0x0a, size);
    buf.set(resource, pos);
    pos = writeHead(buf, pos + resource.length, 0x12, scopeSize);
    buf.set(scope, pos);
    const body = buf.subarray(start, this.#end);
    this.buf = Buffer.allocUnsafeSlow(buf.length);
    this.#end = this.#headBytes;
    this.spanCount = 0;
    return { body, spanCount };
  }
}

function senderOf({ name, index, language }: Service, instance: number): Envelope {
  const pod = `${name}-${(0x5f3a + index * 977).toString(16)}-${instance}`;
  const facts = {
    "service.name": name,
    "service.namespace": "shop",
    "service.version": `${1 + (index % 3)}.${index % 11}.${instance}`,
    "service.instance.id": pod,
    "deployment.environment.name": "production",
    "k8s.pod.name": pod,
    "k8s.node.name": `node-${(index * 7 + instance) % 12}`,
    "cloud.region": "eu-west-1",
    "telemetry.sdk.language": language,
    "telemetry.sdk.name": "opentelemetry",
  };
  const attributes = Object.entries(facts).map(([key, value]) => ({
    key,
    value: { kind: "string" as const, value },
  }));
  return envelopeOf(
    { attributes, droppedAttributesCount: 0, entityRefs: [] },
    { name: `shop.${language}.agent`, version: "2.4.0", attributes: [], droppedAttributesCount: 0 },
  );
}

/** How much longer than its shape a trace takes: most a little, a few very much. */
function stretchOf(random: SeededRandom): number {
  const usual = 0.5 + random.float() + random.float();
  if (random.float() >= slowShare) return usual;
  return usual * (3 + 1 / (0.03 + random.float()));
}

function fillRandom(random: SeededRandom, out: Uint8Array, from: number, to: number): void {
  for (let at = from; at < to; at += 4) {
    const word = random.uint32();
    out[at] = word;
    out[at + 1] = word >>> 8;
    out[at + 2] = word >>> 16;
    // Never all zero, which OTLP refuses as an id.
    out[at + 3] = (word >>> 24) | 1;
  }
}

function copy(src: Uint8Array, start: number, length: number, out: Buffer, at: number): void {
  for (let i = 0; i < length; i++) out[at + i] = src[start + i];
}

/** Eight hex digits. */
function writeHex(out: Uint8Array, at: number, word: number): void {
  for (let i = 0; i < 8; i++) out[at + i] = hexDigits[(word >>> (4 * i)) & 15];
}

/** A fixed64: `lo` may be beyond 32 bits, what is above is carried. */
function writeTime(out: Buffer, at: number, lo: number, hi: number): void {
  const carried = hi + Math.floor(lo / twoTo32);
  for (let i = 0; i < 4; i++) {
    out[at + i] = lo >>> (8 * i);
    out[at + 4 + i] = carried >>> (8 * i);
  }
}

function writeHead(out: Buffer, start: number, tag: number, size: number): number {
  let pos = start;
  out[pos++] = tag;
  let rest = size;
  while (rest > 0x7f) {
    out[pos++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[pos++] = rest;
  return pos;
}
