// HOT: runs per span; measured by `npm run bench` (generate).
/**
 * Generates the traffic of a shop of 50 services as OTLP requests, deterministic per seed. Like the
 * requests of SDKs, a request has spans of one service instance and of many traces.
 *
 * Spans are copies of templates with ids, times and numbers patched in, so that the generator takes
 * only a small part of the CPU of the system under load. The layout of a request is below. The head
 * is written last, right before the spans, when their size is known:
 *
 *     | unused | ResourceSpans: tag, size | resource | ScopeSpans: tag, size | scope | spans ... |
 */
import { varintSize } from "#pkg/bytes/bytes.ts";
import { SeededRandom } from "./random.ts";
import { drawShapes, type Shapes, type TraceShape } from "./shape.ts";
import { instancesPerService, type Service, services } from "./shop.ts";
import { type Envelope, envelopeOf, places, type SpanTemplate } from "./template.ts";

export interface TrafficOptions {
  seed: number;
  /** An instance sends an incomplete request after this many spans of all instances. */
  lingerSpans?: number;
  /** Number of traces to generate; unlimited by default. */
  tracesMax?: number;
}

export interface TrafficRequest {
  /** An ExportTraceServiceRequest. The caller owns its memory. */
  body: Uint8Array;
  spanCount: number;
}

const commonShapes = 500;
const largeShapes = 6;
/** One trace of this many has thousands of spans. */
const tracesPerLarge = 4096;
const errorShare = 0.03;
const slowShare = 0.01;
/** Bytes reserved for two tags and two sizes of up to five bytes. */
const headBytesMax = 12;
const earlierCount = 64;
const hexDigits: Uint8Array = Buffer.from("0123456789abcdef");
const twoTo32 = 4_294_967_296;

/** A generator of requests. */
export class Traffic {
  /** Numbers of generated traces and spans, including spans that are in no request yet. */
  traceCount = 0;
  spanCount = 0;
  readonly #random: SeededRandom;
  readonly #lingerSpans: number;
  readonly #tracesMax: number;
  readonly #shapes: Shapes;
  readonly #batches: Batch[];
  readonly #ready: TrafficRequest[] = [];
  #cursor = 0;
  /** Ids of the current trace: 16 bytes, then 8 per span. */
  #ids: Uint8Array = new Uint8Array(16 + 8 * 64);
  #failed: Uint8Array = new Uint8Array(64);
  /** Trace and root span ids of some earlier traces, 24 bytes each. */
  readonly #earlier: Uint8Array = new Uint8Array(24 * earlierCount);
  /** Texts of the current trace: order, user, session. */
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
   * Returns the next request that is full or has waited long enough. Its spans ended at `nowMs` or
   * shortly before. Returns undefined when all traces are generated; `finish` returns the rest.
   */
  next(nowMs: number): TrafficRequest | undefined {
    for (;;) {
      const request = this.#ready.shift();
      if (request !== undefined || this.traceCount >= this.#tracesMax) return request;
      this.#writeTrace(nowMs);
      this.#flushOld();
    }
  }

  /** Returns the remaining, incomplete requests. */
  finish(): TrafficRequest[] {
    const rest = this.#batches.filter(({ spanCount }) => spanCount > 0);
    return [...this.#ready.splice(0), ...rest.map((batch) => batch.take())];
  }

  #writeTrace(nowMs: number): void {
    const random = this.#random;
    const isLarge = this.traceCount % tracesPerLarge === tracesPerLarge / 2;
    const shape = random.pick(isLarge ? this.#shapes.large : this.#shapes.common);
    const stretch = stretchOf(random);
    // Two halves, because nanoseconds since 1970 do not fit into a number.
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
    // Some users are frequent, most are rare.
    const share = random.float();
    let user = Math.floor(share * share * 1_000_000);
    for (let i = 5; i >= 0; i--) {
      texts[8 + i] = 0x30 + (user % 10);
      user = Math.floor(user / 10);
    }
    writeHex(texts, 14, random.uint32());
    writeHex(texts, 22, random.uint32());
  }

  /** Draws failures: in some traces a span fails, and some or all of its callers fail too. */
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
    // The ids of the trace 20 traces ago.
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

  /** Checks a few instances per call; one that has waited long enough sends its spans. */
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
  /** Number of spans generated in total when the first span of this batch was. */
  openedAt = 0;
  readonly #envelope: Envelope;
  readonly #spansMax: number;
  readonly #headBytes: number;
  #end: number;

  constructor(service: Service, instance: number) {
    this.#envelope = senderOf(service, instance);
    this.#spansMax = [64, 128, 256, 512][(service.index + instance) % 4];
    const { resource, scope } = this.#envelope;
    this.#headBytes = headBytesMax + resource.length + scope.length;
    this.#end = this.#headBytes;
    this.buf = Buffer.allocUnsafeSlow(this.#headBytes + this.#spansMax * 500);
  }

  isFull(): boolean {
    return this.spanCount === this.#spansMax;
  }

  /** Appends a copy of a span; returns its offset. */
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

  /** Returns the spans so far as a request and starts a new one. */
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

/** Draws the stretch factor of a trace's times: around 1.5, and much larger for a few traces. */
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

/** Writes eight hex digits. */
function writeHex(out: Uint8Array, at: number, word: number): void {
  for (let i = 0; i < 8; i++) out[at + i] = hexDigits[(word >>> (4 * i)) & 15];
}

/** Writes a fixed64. `lo` may exceed 32 bits; the excess is carried to `hi`. */
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
