/** The operations of the shop's services: each is a span template. */
import type { KeyValue, Span, SpanEvent, SpanLink } from "#pkg/otlp/otlp.ts";
import type { Service } from "./shop.ts";
import {
  markerBytes,
  markerText,
  markerTime,
  places,
  type SpanTemplate,
  templateOf,
  variedInt,
} from "./template.ts";

/** One operation in its variants: index 0 succeeds, index 1 fails. */
export interface Operation {
  /** Longest duration without its children, nanoseconds. */
  selfNanos: number;
  asRoot: readonly SpanTemplate[];
  asChild: readonly SpanTemplate[];
}

interface OperationOptions {
  kind: number;
  name: string;
  selfNanos: number;
  /** Returns the attributes; `isError` selects the status codes. */
  attributes: (isError: boolean) => KeyValue[];
  failure: { type: string; message: string };
  link?: "parent" | "earlier";
}

export const spanKinds = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 } as const;
const millisecond = 1_000_000;

/** The operations of one service by kind. */
export interface ServiceOperations {
  httpServer: Operation[];
  httpClient: Operation[];
  rpcServer: Operation[];
  rpcClient: Operation[];
  database: Operation[];
  cache: Operation[];
  internal: Operation[];
  producer: Operation[];
  consumer: Operation[];
  /** Operations that start traces, with a link to an earlier trace. */
  batch: Operation[];
}

export function operationsOf(service: Service): ServiceOperations {
  const { methods, routes } = service;
  return {
    httpServer: routes.map((route) => httpServer(service, route)),
    httpClient: routes.map((route) => httpClient(service, route)),
    rpcServer: methods.map((method) => rpc(service, method, spanKinds.server)),
    rpcClient: methods.map((method) => rpc(service, method, spanKinds.client)),
    database: ["SELECT", "INSERT", "UPDATE"].map((verb) => database(service, verb)),
    cache: ["GET", "SET"].map((command) => cache(service, command)),
    internal: ["validate", "render", "reconcile"].map((step) => internal(service, step)),
    producer: [messaging(service, spanKinds.producer)],
    consumer: [messaging(service, spanKinds.consumer, "parent")],
    batch: [messaging(service, spanKinds.consumer, "earlier")],
  };
}

function httpServer(service: Service, route: string): Operation {
  const [method, path] = route.split(" ");
  return operation({
    kind: spanKinds.server,
    name: route,
    selfNanos: 4 * millisecond,
    failure: { type: "UpstreamTimeoutError", message: `${path} did not answer in time` },
    attributes: (isError) => [
      text("http.request.method", method),
      text("http.route", path),
      text("url.path", path.replace("{id}", markerText(places.order))),
      text("url.scheme", "https"),
      int("http.response.status_code", isError ? 503 : method === "POST" ? 201 : 200),
      variedInt("http.response.body.size", places.large),
      text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) Shop/4.2"),
      text("network.protocol.version", "1.1"),
      text("server.address", `${service.name}.shop.internal`),
      text("user.id", `user-${markerText(places.user)}`),
      text("session.id", markerText(places.session)),
      text("http.request.id", markerText(places.unique)),
    ],
  });
}

function httpClient(service: Service, route: string): Operation {
  const [method, path] = route.split(" ");
  const id = markerText(places.order);
  return operation({
    kind: spanKinds.client,
    name: method,
    selfNanos: 2 * millisecond,
    failure: { type: "ConnectionResetError", message: `${service.name} closed the connection` },
    attributes: (isError) => [
      text("http.request.method", method),
      text("url.full", `https://${service.name}.shop.internal${path.replace("{id}", id)}`),
      text("server.address", `${service.name}.shop.internal`),
      int("server.port", 8443),
      int("http.response.status_code", isError ? 503 : 200),
      text("peer.service", service.name),
      variedInt("http.request.resend_count", places.small),
    ],
  });
}

function rpc(service: Service, method: string, kind: number): Operation {
  return operation({
    kind,
    name: `shop.${service.name}.v1/${method}`,
    selfNanos: 3 * millisecond,
    failure: { type: "StatusRuntimeException", message: "DEADLINE_EXCEEDED: 2 s passed" },
    attributes: (isError) => [
      text("rpc.system", "grpc"),
      text("rpc.service", `shop.${service.name}.v1`),
      text("rpc.method", method),
      int("rpc.grpc.status_code", isError ? 4 : 0),
      text("server.address", `${service.name}.shop.internal`),
      int("server.port", 9000 + service.index),
      text("order.id", `ord-${markerText(places.order)}`),
      variedInt("thread.id", places.small),
    ],
  });
}

function database(service: Service, verb: string): Operation {
  const table = service.name.replaceAll("-", "_");
  const where = verb === "INSERT" ? "values ($1, $2, $3)" : "where id = $1 and region = $2";
  return operation({
    kind: spanKinds.client,
    name: `${verb} ${table}`,
    selfNanos: 12 * millisecond,
    failure: { type: "LockTimeoutError", message: `lock on ${table} was not granted` },
    attributes: () => [
      text("db.system.name", service.database),
      text("db.namespace", `shop_${table}`),
      text("db.collection.name", table),
      text("db.operation.name", verb),
      text("db.query.text", `${verb.toLowerCase()} ${table} ${where}`),
      text("server.address", `${service.database}-${service.index % 4}.shop.internal`),
      int("server.port", 5432),
      variedInt("db.response.returned_rows", places.small),
    ],
  });
}

function cache(service: Service, command: string): Operation {
  return operation({
    kind: spanKinds.client,
    name: command,
    selfNanos: millisecond,
    failure: { type: "RedisTimeoutError", message: "no answer from the cache" },
    attributes: () => [
      text("db.system.name", "redis"),
      text("db.operation.name", command),
      text("db.query.text", `${command} ${service.name}:${markerText(places.session)}`),
      text("server.address", `redis-${service.index % 3}.shop.internal`),
      bool("cache.hit", command === "GET"),
    ],
  });
}

function internal(service: Service, step: string): Operation {
  return operation({
    kind: spanKinds.internal,
    name: `${step} ${service.name}`,
    selfNanos: 6 * millisecond,
    failure: { type: "ValueError", message: `${step}: amount must not be negative` },
    attributes: () => [
      text("code.function.name", `shop.${service.name}.${step}`),
      int("code.line.number", 40 + service.index * 7),
      variedInt("thread.id", places.small),
      double("cart.total", 17.5 + service.index),
      bool("experiment.enabled", service.index % 2 === 0),
    ],
  });
}

function messaging(service: Service, kind: number, link?: "parent" | "earlier"): Operation {
  const what = kind === spanKinds.producer ? "send" : "process";
  return operation({
    kind,
    link,
    name: `${what} ${service.topic}`,
    selfNanos: 8 * millisecond,
    failure: { type: "PoisonMessageError", message: "message could not be decoded" },
    attributes: () => [
      text("messaging.system", "kafka"),
      text("messaging.destination.name", service.topic),
      text("messaging.operation.type", what),
      text("messaging.message.id", markerText(places.unique)),
      variedInt("messaging.destination.partition.id", places.small),
      variedInt("messaging.kafka.offset", places.large),
      ...(kind === spanKinds.consumer
        ? [text("messaging.consumer.group.name", `${service.name}-workers`)]
        : []),
    ],
  });
}

function operation(options: OperationOptions): Operation {
  const variants = (isRoot: boolean): SpanTemplate[] =>
    [false, true].map((isError) => template(options, isRoot, isError));
  return { selfNanos: options.selfNanos, asRoot: variants(true), asChild: variants(false) };
}

function template(options: OperationOptions, isRoot: boolean, isError: boolean): SpanTemplate {
  const attributes = options.attributes(isError);
  const { failure, link } = options;
  const span: Span = {
    traceId: markerBytes(places.traceId),
    spanId: markerBytes(places.spanId),
    traceState: "",
    parentSpanId: isRoot ? new Uint8Array(0) : markerBytes(places.parentId),
    name: options.name,
    kind: options.kind,
    startTimeUnixNano: markerTime(places.start),
    endTimeUnixNano: markerTime(places.end),
    attributes,
    droppedAttributesCount: 0,
    events: isError ? [exceptionEvent(failure)] : [],
    droppedEventsCount: 0,
    links: link === undefined ? [] : [linkTo(link, isRoot)],
    droppedLinksCount: 0,
    status: isError ? { message: failure.message, code: 2 } : { message: "", code: 0 },
    flags: isRoot ? 0x101 : 0x301,
  };
  const varied = new Map<string, number>();
  for (const { key } of attributes) {
    const place = variedPlaces.find(([other]) => other === key)?.[1];
    if (place !== undefined) varied.set(key, place);
  }
  return templateOf(span, varied);
}

const variedPlaces: readonly (readonly [key: string, place: number])[] = [
  ["http.response.body.size", places.large],
  ["http.request.resend_count", places.small],
  ["thread.id", places.small],
  ["db.response.returned_rows", places.small],
  ["messaging.destination.partition.id", places.small],
  ["messaging.kafka.offset", places.large],
];

function exceptionEvent({ type, message }: { type: string; message: string }): SpanEvent {
  const frames = ["handle", "dispatch", "invoke", "run"].map(
    (name, i) => `    at shop.core.${name} (core/${name}.src:${String(40 + i * 13)})`,
  );
  return {
    timeUnixNano: markerTime(places.middle),
    name: "exception",
    attributes: [
      text("exception.type", type),
      text("exception.message", message),
      text("exception.stacktrace", `${type}: ${message}\n${frames.join("\n")}`),
    ],
    droppedAttributesCount: 0,
  };
}

/** Returns the link of a consumer to its producer: the parent, or a span of an earlier trace. */
function linkTo(link: "parent" | "earlier", isRoot: boolean): SpanLink {
  const isParent = link === "parent" && !isRoot;
  return {
    traceId: markerBytes(isParent ? places.traceId : places.earlierTraceId),
    spanId: markerBytes(isParent ? places.parentId : places.earlierSpanId),
    traceState: "",
    attributes: [text("messaging.operation.type", "receive")],
    droppedAttributesCount: 0,
    flags: 0x101,
  };
}

function text(key: string, value: string): KeyValue {
  return { key, value: { kind: "string", value } };
}

function int(key: string, value: number): KeyValue {
  return { key, value: { kind: "int", value: BigInt(value) } };
}

function double(key: string, value: number): KeyValue {
  return { key, value: { kind: "double", value } };
}

function bool(key: string, value: boolean): KeyValue {
  return { key, value: { kind: "bool", value } };
}
