/**
 * Converts OTLP/JSON text to protobuf bytes or objects (opentelemetry-proto,
 * docs/specification.md).
 *
 * Lenient: 64-bit integers may be strings or numbers (both exact: no number goes through a double),
 * enums may be names, bytes may be URL-safe base64, `null` means "not set", unknown keys are
 * skipped. A duplicate key merges like a repeated protobuf field. Strict: ids are hex, keys are
 * lowerCamelCase, a value of a wrong type is InvalidInput with the path to it.
 */
import { WireWriter } from "#pkg/bytes/bytes.ts";
import { decodeAnyValue, decodeKeyValueList, decodeTraceData } from "./decode.ts";
import { JsonReader, shorten } from "./json-reader.ts";
import {
  type AnyValue,
  type KeyValue,
  spanKindNames,
  statusCodeNames,
  type TraceData,
  valueDepthMax,
} from "./trace-data.ts";

/** Converts an ExportTraceServiceRequest from OTLP/JSON (UTF-8) to protobuf. */
export function jsonToWire(json: Uint8Array): Uint8Array {
  const converter = new Converter(json, "OTLP/JSON");
  converter.message("request", 0);
  return converter.finish();
}

/** Parses an ExportTraceServiceRequest or TracesData in OTLP/JSON. */
export function parseTraceJson(json: Uint8Array): TraceData {
  return decodeTraceData(jsonToWire(json));
}

/** Parses the output of `formatAttributesJson`. Throws InvalidInput. */
export function parseAttributesJson(text: string): KeyValue[] {
  const converter = new Converter(Buffer.from(text, "utf8"), "attributes");
  converter.list(1, "keyValue", 0);
  return decodeKeyValueList(converter.finish());
}

/** Parses the output of `formatAnyValueJson`. Throws InvalidInput. */
export function parseAnyValueJson(text: string): AnyValue {
  const converter = new Converter(Buffer.from(text, "utf8"), "attribute value");
  converter.message("anyValue", 1);
  return decodeAnyValue(converter.finish());
}

type Scalar =
  | "string"
  | "hex"
  | "base64"
  | "bool"
  | "double"
  | "int64"
  | "uint32"
  | "fixed64"
  | "fixed32"
  | "kind"
  | "code";

type Message =
  | "request"
  | "resourceSpans"
  | "resource"
  | "entityRef"
  | "scopeSpans"
  | "scope"
  | "span"
  | "event"
  | "link"
  | "status"
  | "keyValue"
  | "anyValue"
  | "arrayValue"
  | "kvlistValue";

type FieldType = Scalar | "strings" | { message: Message } | { list: Message };

/** JSON key -> field number and type. */
type Fields = ReadonlyMap<string, readonly [field: number, type: FieldType]>;

function fields(list: Record<string, readonly [number, FieldType]>): Fields {
  return new Map(Object.entries(list));
}

const attributes = { list: "keyValue" } as const;

const messages: Record<Message, Fields> = {
  request: fields({ resourceSpans: [1, { list: "resourceSpans" }] }),
  resourceSpans: fields({
    resource: [1, { message: "resource" }],
    scopeSpans: [2, { list: "scopeSpans" }],
    schemaUrl: [3, "string"],
  }),
  resource: fields({
    attributes: [1, attributes],
    droppedAttributesCount: [2, "uint32"],
    entityRefs: [3, { list: "entityRef" }],
  }),
  entityRef: fields({
    schemaUrl: [1, "string"],
    type: [2, "string"],
    idKeys: [3, "strings"],
    descriptionKeys: [4, "strings"],
  }),
  scopeSpans: fields({
    scope: [1, { message: "scope" }],
    spans: [2, { list: "span" }],
    schemaUrl: [3, "string"],
  }),
  scope: fields({
    name: [1, "string"],
    version: [2, "string"],
    attributes: [3, attributes],
    droppedAttributesCount: [4, "uint32"],
  }),
  span: fields({
    traceId: [1, "hex"],
    spanId: [2, "hex"],
    traceState: [3, "string"],
    parentSpanId: [4, "hex"],
    name: [5, "string"],
    kind: [6, "kind"],
    startTimeUnixNano: [7, "fixed64"],
    endTimeUnixNano: [8, "fixed64"],
    attributes: [9, attributes],
    droppedAttributesCount: [10, "uint32"],
    events: [11, { list: "event" }],
    droppedEventsCount: [12, "uint32"],
    links: [13, { list: "link" }],
    droppedLinksCount: [14, "uint32"],
    status: [15, { message: "status" }],
    flags: [16, "fixed32"],
  }),
  event: fields({
    timeUnixNano: [1, "fixed64"],
    name: [2, "string"],
    attributes: [3, attributes],
    droppedAttributesCount: [4, "uint32"],
  }),
  link: fields({
    traceId: [1, "hex"],
    spanId: [2, "hex"],
    traceState: [3, "string"],
    attributes: [4, attributes],
    droppedAttributesCount: [5, "uint32"],
    flags: [6, "fixed32"],
  }),
  status: fields({ message: [2, "string"], code: [3, "code"] }),
  keyValue: fields({ key: [1, "string"], value: [2, { message: "anyValue" }] }),
  anyValue: fields({
    stringValue: [1, "string"],
    boolValue: [2, "bool"],
    intValue: [3, "int64"],
    doubleValue: [4, "double"],
    arrayValue: [5, { message: "arrayValue" }],
    kvlistValue: [6, { message: "kvlistValue" }],
    bytesValue: [7, "base64"],
  }),
  arrayValue: fields({ values: [1, { list: "anyValue" }] }),
  kvlistValue: fields({ values: [1, attributes] }),
};

/** Longest integer, characters: converting digits to a bigint takes quadratic time. */
const integerCharsMax = 100;

class Converter {
  #reader: JsonReader;
  #writer: WireWriter;

  constructor(json: Uint8Array, what: string) {
    this.#reader = new JsonReader(json, what);
    this.#writer = new WireWriter(json.length);
  }

  /** Checks that the whole text was read and returns the protobuf bytes. */
  finish(): Uint8Array {
    this.#reader.end();
    return this.#writer.bytes();
  }

  /** Reads an object as the fields of `message`; `depth` is the nesting level of its values. */
  message(message: Message, depth: number): void {
    if (depth > valueDepthMax) this.#reader.fail(`values nested over ${valueDepthMax} levels`);
    const known = messages[message];
    this.#reader.object((key) => {
      const found = known.get(key);
      if (found === undefined) return false;
      if (!this.#reader.takeNull()) this.#field(found[0], found[1], depth);
      return true;
    });
  }

  list(field: number, item: Message, depth: number): void {
    const inner = item === "anyValue" ? depth + 1 : depth;
    this.#reader.array(() => {
      if (!this.#reader.takeNull()) {
        this.#writer.message(field, () => this.message(item, inner));
      } else if (item === "anyValue") this.#writer.message(field, () => undefined);
    });
  }

  #field(field: number, type: FieldType, depth: number): void {
    if (typeof type !== "object") {
      if (type === "strings") {
        this.#reader.array(() => this.#writer.bytesField(field, this.#reader.string()));
      } else this.#scalar(field, type);
    } else if ("list" in type) this.list(field, type.list, depth);
    else {
      const inner = type.message === "anyValue" ? depth + 1 : depth;
      this.#writer.message(field, () => this.message(type.message, inner));
    }
  }

  #scalar(field: number, type: Scalar): void {
    const writer = this.#writer;
    switch (type) {
      case "string":
        writer.bytesField(field, this.#reader.string());
        return;
      case "hex":
        writer.bytesField(field, this.#hex());
        return;
      case "base64":
        writer.bytesField(field, this.#base64());
        return;
      case "bool":
        writer.uint(field, this.#reader.boolean() ? 1 : 0);
        return;
      case "double":
        writer.double(field, this.#double());
        return;
      case "int64":
        writer.int64(field, this.#integer(-(2n ** 63n), 2n ** 63n - 1n));
        return;
      case "uint32":
        writer.uint(field, Number(this.#integer(0n, 2n ** 32n - 1n)));
        return;
      case "fixed64":
        writer.fixed64(field, this.#integer(0n, 2n ** 64n - 1n));
        return;
      case "fixed32":
        writer.fixed32(field, Number(this.#integer(0n, 2n ** 32n - 1n)));
        return;
      default:
        writer.int64(field, this.#enum(type === "kind" ? spanKindNames : statusCodeNames));
    }
  }

  #hex(): Uint8Array {
    const text = this.#reader.string().toString("latin1");
    if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
      this.#reader.fail(`${shorten(text)} is not hex`);
    }
    return Buffer.from(text, "hex");
  }

  #base64(): Uint8Array {
    const text = this.#reader.string().toString("latin1");
    const digits = text.replace(/={1,2}$/, "");
    if (digits.length % 4 === 1 || !/^[A-Za-z0-9+/_-]*$/.test(digits)) {
      this.#reader.fail(`${shorten(text)} is not base64`);
    }
    return Buffer.from(digits, "base64");
  }

  #double(): number {
    const isString = this.#reader.isString();
    const text = isString ? this.#reader.string().toString("latin1") : this.#reader.number();
    if (isString && (text === "NaN" || text === "Infinity" || text === "-Infinity")) {
      return Number(text);
    }
    const value = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isFinite(value)) this.#reader.fail(`${shorten(text)} is not a double`);
    return value;
  }

  #integer(min: bigint, max: bigint): bigint {
    const isString = this.#reader.isString();
    const text = isString ? this.#reader.string().toString("latin1") : this.#reader.number();
    const value = parseInteger(text);
    if (value === undefined) this.#reader.fail(`${shorten(text)} is not an integer`);
    if (value < min || value > max) {
      this.#reader.fail(`${shorten(text)} is not between ${min} and ${max}`);
    }
    return value;
  }

  #enum(names: readonly string[]): bigint {
    if (!this.#reader.isString()) return this.#integer(-(2n ** 31n), 2n ** 31n - 1n);
    const text = this.#reader.string().toString("latin1");
    const index = names.indexOf(text);
    const value = index === -1 ? parseInteger(text) : BigInt(index);
    if (value === undefined || BigInt.asIntN(32, value) !== value) {
      this.#reader.fail(`${shorten(text)} is not one of ${names.join(", ")}`);
    }
    return value;
  }
}

/** Parses an integer in any JSON notation ("5", "5.0", "5e3") exactly; undefined if it is none. */
function parseInteger(text: string): bigint | undefined {
  if (text.length > integerCharsMax) return undefined;
  if (/^\d+$/.test(text)) return BigInt(text);
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?$/.exec(text);
  if (match === null) return undefined;
  const [, sign, whole, fraction = "", exponent = "0"] = match;
  let digits = whole + fraction;
  const shift = Number(exponent) - fraction.length;
  if (shift < 0) {
    const cut = digits.slice(Math.max(0, digits.length + shift));
    if (/[^0]/.test(cut)) return undefined;
    digits = digits.slice(0, Math.max(0, digits.length + shift));
  }
  if (/^0*$/.test(digits)) return 0n;
  if (shift > 30) return undefined;
  const value = BigInt(digits) * 10n ** BigInt(Math.max(0, shift));
  return sign === "-" ? -value : value;
}
