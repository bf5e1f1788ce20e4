/** Test support: random spans over few keys and values, and random conditions that fit them. */
import type { AnyValue, KeyValue, Span, TraceData } from "#pkg/otlp/trace-data.ts";

/** A seeded generator (mulberry32) of numbers from 0 to below 1. */
export type Random = () => number;

export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)];
}

const keys = ["a", "b", "c", "http.status_code", "odd key", "a:int", "service.name"];
const rareKeys = ["r1", "r2", "r3", "r4"];
const texts = [
  "",
  "x",
  "y",
  "foo",
  "foobar",
  "line\nbreak",
  "é",
  "\u{1f600}",
  "\uffee",
  "1",
  "error",
];
const ints = [0n, 1n, 2n, -1n, 200n, 500n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)];
const doubles = [0, -0, 1, 1.5, -2.5, 200, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY];

function scalar(random: Random): AnyValue {
  switch (Math.floor(random() * 4)) {
    case 0:
      return { kind: "string", value: pick(random, texts) };
    case 1:
      return { kind: "int", value: pick(random, ints) };
    case 2:
      return { kind: "double", value: pick(random, doubles) };
    default:
      return { kind: "bool", value: random() < 0.5 };
  }
}

function anyValue(random: Random): AnyValue {
  const choice = random();
  if (choice < 0.8) return scalar(random);
  if (choice < 0.93) return { kind: "array", values: arrayItems(random) };
  const odd: AnyValue[] = [
    { kind: "empty" },
    { kind: "bytes", value: Uint8Array.of(1, 2) },
    { kind: "kvlist", values: [{ key: "a", value: scalar(random) }] },
    { kind: "array", values: [{ kind: "array", values: [scalar(random)] }, scalar(random)] },
  ];
  return pick(random, odd);
}

function arrayItems(random: Random): AnyValue[] {
  const length = Math.floor(random() * 4);
  const first = scalar(random);
  return Array.from({ length }, () => {
    const next = scalar(random);
    return random() < 0.2 || next.kind === first.kind ? next : first;
  });
}

/** Returns random attributes. Most keys occur once, some repeat with another value or type. */
function attributes(random: Random, share: number): KeyValue[] {
  const out: KeyValue[] = [];
  for (const key of keys) if (random() < share) out.push({ key, value: anyValue(random) });
  for (const key of rareKeys) if (random() < 0.02) out.push({ key, value: anyValue(random) });
  while (out.length > 0 && random() < 0.2) {
    out.push({ key: pick(random, out).key, value: anyValue(random) });
  }
  return out;
}

function idBytes(low: number, size = 8): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes[size - 1] = low;
  bytes[size - 2] = low >> 8;
  return bytes;
}

function span(random: Random, number: number): Span {
  const none = { droppedAttributesCount: 0, droppedEventsCount: 0, droppedLinksCount: 0 };
  const start = pick(random, [0n, 1000n, 5n * 10n ** 17n, 17n * 10n ** 17n]) + BigInt(number);
  const length = pick(random, [0n, 1n, 1_000_000n, 100_000_000n, 3_600_000_000_000n, -1n]);
  const end = start + length < 0n ? start : start + length;
  const few = (): undefined[] =>
    Array.from({ length: random() < 0.5 ? 0 : Math.ceil(random() * 3) });
  return {
    ...none,
    traceId: idBytes(1 + Math.floor(random() * 8), 16),
    spanId: idBytes(number + 1),
    traceState: "",
    parentSpanId: random() < 0.3 ? new Uint8Array(0) : idBytes(1 + Math.floor(random() * 12)),
    name: pick(random, texts),
    kind: Math.floor(random() * 6),
    startTimeUnixNano: start,
    endTimeUnixNano: end,
    attributes: attributes(random, 0.4),
    events: few().map(() => ({
      timeUnixNano: start + pick(random, [0n, 1n, 1_000_000n, 5n]),
      name: pick(random, texts),
      attributes: attributes(random, 0.25),
      droppedAttributesCount: 0,
    })),
    links: few().map(() => ({
      traceId: idBytes(Math.floor(random() * 4), 16),
      spanId: idBytes(Math.floor(random() * 4)),
      traceState: "",
      attributes: attributes(random, 0.25),
      droppedAttributesCount: 0,
      flags: 0,
    })),
    status: { message: pick(random, ["", "", "foo", "x"]), code: Math.floor(random() * 3) },
    flags: 0,
  };
}

/** Returns spans with distinct ids. Leaves out kinds of data at random, so columns are missing. */
export function randomSpans(random: Random): TraceData {
  const count = 1 + Math.floor(random() * (random() < 0.2 ? 60 : 20));
  const hasEvents = random() < 0.8;
  const hasLinks = random() < 0.8;
  const share = pick(random, [0, 0.3, 0.5]);
  const resourceSpans: TraceData["resourceSpans"] = [];
  for (let i = 0; i < count; i++) {
    const one = span(random, i);
    if (!hasEvents) one.events = [];
    if (!hasLinks) one.links = [];
    const last = resourceSpans.at(-1);
    if (last !== undefined && random() < 0.6) {
      last.scopeSpans[0].spans.push(one);
      continue;
    }
    const named = { name: pick(random, ["", "foo", "x"]), version: pick(random, ["", "1"]) };
    const scope = { ...named, attributes: attributes(random, share), droppedAttributesCount: 0 };
    resourceSpans.push({
      resource: {
        attributes: attributes(random, share),
        droppedAttributesCount: 0,
        entityRefs: [],
      },
      schemaUrl: "",
      scopeSpans: [{ scope, schemaUrl: "", spans: [one] }],
    });
  }
  return { resourceSpans };
}

export const scopePrefixes: Readonly<Record<string, string>> = {
  any: ".",
  span: "span.",
  resource: "resource.",
  event: "event.",
  link: "link.",
  instrumentation: "instrumentation.",
};

/** Intrinsics and the type of their literals. */
export const filterIntrinsics: Readonly<Record<string, LiteralType>> = {
  "span:duration": "duration",
  "span:name": "string",
  "span:status": "status",
  "span:statusMessage": "string",
  "span:kind": "kind",
  "span:id": "string",
  "span:parentID": "string",
  "span:childCount": "int",
  "trace:id": "string",
  "trace:duration": "duration",
  "trace:rootName": "string",
  "trace:rootService": "string",
  nestedSetLeft: "int",
  nestedSetRight: "int",
  nestedSetParent: "int",
  "event:name": "string",
  "event:timeSinceStart": "duration",
  "link:traceID": "string",
  "link:spanID": "string",
  "instrumentation:name": "string",
  "instrumentation:version": "string",
};

export type LiteralType =
  | "string"
  | "int"
  | "float"
  | "duration"
  | "bool"
  | "status"
  | "kind"
  | "nil";

const orders = ["=", "!=", "<", "<=", ">", ">="];

export const opsOfType: Readonly<Record<LiteralType, readonly string[]>> = {
  string: [...orders, "=~", "!~"],
  int: orders,
  float: orders,
  duration: orders,
  bool: ["=", "!="],
  status: ["=", "!="],
  kind: ["=", "!="],
  nil: ["=", "!="],
};

const literalTexts: Readonly<Record<LiteralType, readonly string[]>> = {
  string: [...texts.map((text) => JSON.stringify(text)), '"01"', '"0"', '"3"', '"00000002"'],
  int: ["0", "1", "2", "-1", "200", "9007199254740992", "minInt", "maxInt"],
  float: ["0.0", "1.0", "1.5", "-2.5", "200.0", "9007199254740992.0", "1e300"],
  duration: ["0s", "1ns", "1ms", "100ms", "1h", "200ns"],
  bool: ["true", "false"],
  status: ["ok", "error", "unset"],
  kind: ["unspecified", "internal", "server", "client", "producer", "consumer"],
  nil: ["nil"],
};

const patterns = [
  '"foo"',
  '"fo+.*"',
  '".*"',
  '"(?i)FOO"',
  '""',
  '"line.break"',
  '"x|y"',
  '"foo|bar|x"',
  '"^(?:foo|fo\\.o|)$"',
  '"[0-9]"',
];

function attributeName(random: Random): string {
  const key = random() < 0.08 ? pick(random, rareKeys) : pick(random, keys);
  const name = /^[a-z._]+$/.test(key) ? key : JSON.stringify(key);
  return pick(random, Object.values(scopePrefixes)) + name;
}

function literal(random: Random, type: LiteralType, op: string): string {
  return pick(random, op.endsWith("~") ? patterns : literalTexts[type]);
}

/** Returns a random condition as text. It may be invalid: types may contradict each other. */
export function randomCondition(random: Random, depth = 3): string {
  const choice = random();
  if (depth > 0 && choice < 0.4) {
    const op = random() < 0.5 ? "&&" : "||";
    return `(${randomCondition(random, depth - 1)} ${op} ${randomCondition(random, depth - 1)})`;
  }
  if (depth > 0 && choice < 0.5) return `!(${randomCondition(random, depth - 1)})`;
  if (choice < 0.54) return attributeName(random);
  if (choice < 0.57) return `!${attributeName(random)}`;
  if (choice < 0.6) return `(${randomCondition(random, 0)}) = ${pick(random, ["true", ".a"])}`;
  if (choice < 0.66) return `(${randomChain(random)})`;
  return randomComparison(random);
}

/** Returns a chain of comparisons of one name, which the parser turns into a set. */
function randomChain(random: Random): string {
  const intrinsic = random() < 0.4;
  const [name, type] = intrinsic
    ? pick(random, Object.entries(filterIntrinsics))
    : [attributeName(random), pick(random, Object.keys(literalTexts) as LiteralType[])];
  const joined = pick(random, ["||", "&&"]);
  const op = random() < 0.9 ? (joined === "||" ? "=" : "!=") : pick(random, ["=", "!="]);
  const count = 2 + Math.floor(random() * 4);
  const all = Array.from({ length: count }, () => {
    const own = !intrinsic && random() < 0.2 ? pick(random, ["string", "int", "float"]) : type;
    return `${name} ${op} ${literal(random, own as LiteralType, op)}`;
  });
  if (random() < 0.3) all.splice(Math.floor(random() * count), 0, attributeName(random));
  return all.join(` ${joined} `);
}

function randomComparison(random: Random): string {
  const choice = random();
  const attribute = attributeName(random);
  if (choice < 0.55) {
    const type = pick(random, Object.keys(opsOfType) as LiteralType[]);
    const op = pick(random, opsOfType[type]);
    return `${attribute} ${op} ${literal(random, type, op)}`;
  }
  if (choice < 0.8) {
    const [name, type] = pick(random, Object.entries(filterIntrinsics));
    const op = random() < 0.15 ? "!=" : pick(random, opsOfType[type]);
    return `${name} ${op} ${random() < 0.15 && op === "!=" ? "nil" : literal(random, type, op)}`;
  }
  const op = pick(random, orders);
  if (choice < 0.86) {
    const type = pick(random, ["string", "int", "float", "duration", "nil"] as const);
    return `${literal(random, type, op)} ${type === "nil" ? "!=" : op} ${attribute}`;
  }
  if (choice < 0.92) return `${attribute} ${op} ${attributeName(random)}`;
  return `${randomNumber(random, 2)} ${op} ${randomNumber(random, 1)}`;
}

function randomNumber(random: Random, depth: number): string {
  const choice = random();
  if (depth > 0 && choice < 0.5) {
    const op = pick(random, ["+", "-", "*", "/", "%", "^"]);
    return `(${randomNumber(random, depth - 1)} ${op} ${randomNumber(random, depth - 1)})`;
  }
  if (choice < 0.6) return `(-${attributeName(random)})`;
  if (choice < 0.75) return attributeName(random);
  if (choice < 0.85) return pick(random, ["span:duration", "event:timeSinceStart"]);
  return literal(random, pick(random, ["int", "float", "duration"] as const), "=");
}
