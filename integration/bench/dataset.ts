/**
 * The generated data set of the benchmarks: traffic of a shop with 50 services, the same for the
 * same seed. README.md in this folder writes down its shares. Requests look as SDKs send them:
 * spans of one service instance, of many traces, about 95 per request.
 */
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { AnyValue, KeyValue, Resource, Span } from "#pkg/otlp/trace-data.ts";

export interface DatasetOptions {
  spans: number;
  seed: number;
  /** Start of the first trace, nanoseconds since the epoch. */
  startNano: bigint;
  /** Time over which trace starts are spread, nanoseconds. */
  spreadNano: bigint;
  /**
   * One span in a hundred has a coupon, an attribute too rare for a column of its own; every trace
   * has one of 75,000 baskets.
   */
  hasCoupons?: boolean;
}

export interface Dataset {
  /** Each an ExportTraceServiceRequest. */
  requests: Uint8Array[];
  spans: number;
  traces: number;
  sizeBytes: number;
}

const serviceCount = 50;
const instancesPerService = 3;
const spansPerRequest = 95;
const basketCount = 75_000;

/** A small, fast, seeded random generator (mulberry32, public domain, Tommy Ettinger). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

export function generateDataset(options: DatasetOptions): Dataset {
  const random = seededRandom(options.seed);
  const instances = serviceCount * instancesPerService;
  const pending: Span[][] = Array.from({ length: instances }, () => []);
  const requests: Uint8Array[] = [];
  const flush = (instance: number): void => {
    requests.push(encodeRequest(instance, pending[instance]));
    pending[instance] = [];
  };
  let spans = 0;
  let traces = 0;
  while (spans < options.spans) {
    const at = (options.spreadNano * BigInt(spans)) / BigInt(options.spans);
    const size = Math.min(options.spans - spans, 1 + Math.floor(random() * 20));
    const basket = Math.floor(random() * basketCount);
    for (const { instance, span } of makeTrace(random, options.startNano + at, size)) {
      if (options.hasCoupons === true) {
        span.attributes.push(text("shop.basket", `basket-${basket}`));
        if (random() < 0.01) {
          span.attributes.push(text("shop.coupon", `SPRING-${Math.floor(random() * 50)}`));
        }
      }
      pending[instance].push(span);
      if (pending[instance].length === spansPerRequest) flush(instance);
    }
    spans += size;
    traces++;
  }
  pending.forEach((list, instance) => {
    if (list.length > 0) flush(instance);
  });
  const sizeBytes = requests.reduce((sum, { length }) => sum + length, 0);
  return { requests, spans, traces, sizeBytes };
}

function encodeRequest(instance: number, spans: Span[]): Uint8Array {
  const service = Math.floor(instance / instancesPerService);
  const resource: Resource = {
    attributes: [
      text("service.name", `shop-service-${service}`),
      text("service.version", `1.${service % 7}.${instance % 3}`),
      text("service.instance.id", `shop-service-${service}-6f9d8c7b5-${instance}`),
      text("deployment.environment", "production"),
      text("telemetry.sdk.language", ["go", "java", "nodejs", "python"][service % 4]),
    ],
    droppedAttributesCount: 0,
    entityRefs: [],
  };
  const scope = {
    name: "io.opentelemetry.shop",
    version: "2.1.0",
    attributes: [],
    droppedAttributesCount: 0,
  };
  const scopeSpans = [{ scope, spans, schemaUrl: "" }];
  return Uint8Array.from(
    encodeTraceData({ resourceSpans: [{ resource, scopeSpans, schemaUrl: "" }] }),
  );
}

function makeTrace(
  random: () => number,
  startNano: bigint,
  size: number,
): { instance: number; span: Span }[] {
  const traceId = randomBytes(random, 16);
  const order = Math.floor(random() * 1e9);
  const user = Math.floor(random() * 20_000);
  const made: { instance: number; span: Span }[] = [];
  for (let i = 0; i < size; i++) {
    const parent = i === 0 ? undefined : made[Math.floor(random() * i)].span;
    const instance = Math.floor(random() * serviceCount * instancesPerService);
    const offset = BigInt(Math.floor(random() * 2e6));
    const start = parent === undefined ? startNano : parent.startTimeUnixNano + offset;
    const duration = BigInt(Math.floor(1e5 + Math.exp(random() * 9) * 2e4));
    const isError = random() < 0.02;
    const route = Math.floor(random() * 20);
    const service = Math.floor(instance / instancesPerService);
    made.push({
      instance,
      span: {
        traceId,
        spanId: randomBytes(random, 8),
        traceState: "",
        parentSpanId: parent?.spanId ?? new Uint8Array(0),
        name: `${methods[route % 4]} /api/v1/${resources[service % resources.length]}/${route}`,
        kind: i === 0 ? 2 : 1 + Math.floor(random() * 3),
        startTimeUnixNano: start,
        endTimeUnixNano: start + duration,
        attributes: attributesOf(random, { order, user, route, isError, service }),
        droppedAttributesCount: 0,
        events: isError ? [exception(start + duration / 2n)] : [],
        droppedEventsCount: 0,
        links: [],
        droppedLinksCount: 0,
        status: { message: isError ? "request failed" : "", code: isError ? 2 : 0 },
        flags: 257,
      },
    });
  }
  return made;
}

const methods = ["GET", "POST", "PUT", "DELETE"];
const resources = ["orders", "carts", "users", "payments", "stock", "prices", "search"];

/** Ten attributes: seven with few values, one with 20,000, one per trace, one unique. */
function attributesOf(
  random: () => number,
  facts: { order: number; user: number; route: number; isError: boolean; service: number },
): KeyValue[] {
  const { order, user, route, isError, service } = facts;
  return [
    text("http.request.method", methods[route % 4]),
    text("http.route", `/api/v1/${resources[service % resources.length]}/{id}`),
    { key: "http.response.status_code", value: int(isError ? 500 : 200 + (route % 3)) },
    text("server.address", `shop-${service}.internal`),
    { key: "server.port", value: int(8000 + service) },
    { key: "thread.id", value: int(Math.floor(random() * 64)) },
    text("network.protocol.version", "1.1"),
    text("user.id", `user-${user}`),
    text("order.id", `order-${order}`),
    text(
      "request.id",
      Math.floor(random() * 2 ** 48)
        .toString(16)
        .padStart(12, "0"),
    ),
  ];
}

function exception(timeUnixNano: bigint): Span["events"][number] {
  return {
    timeUnixNano,
    name: "exception",
    attributes: [
      text("exception.type", "TimeoutError"),
      text("exception.message", "upstream did not answer in 2 s"),
    ],
    droppedAttributesCount: 0,
  };
}

function text(key: string, value: string): KeyValue {
  return { key, value: { kind: "string", value } };
}

function int(value: number): AnyValue {
  return { kind: "int", value: BigInt(value) };
}

function randomBytes(random: () => number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = Math.floor(random() * 256);
  bytes[length - 1] |= 1;
  return bytes;
}
