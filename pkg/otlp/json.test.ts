import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hasCode } from "#pkg/errors/errors.ts";
import { decodeTraceData } from "./decode.ts";
import {
  jsonToWire,
  parseAnyValueJson,
  parseAttributesJson,
  parseTraceJson,
} from "./json-decode.ts";
import { formatAnyValueJson, formatAttributesJson, formatTraceJson } from "./json-encode.ts";
import { JsonReader } from "./json-reader.ts";
import { type AnyValue, type TraceData, valueDepthMax } from "./trace-data.ts";
import { randomAnyValue, randomAttributes, randomTraceData } from "./random-otlp.testing.ts";

const otlp = { dialect: "otlp", key: "resourceSpans" } as const;
const captureJson = (): Buffer => readFileSync("testdata/captures/otel-json.01.bin");

function parseText(text: string): TraceData {
  return parseTraceJson(Buffer.from(text, "utf8"));
}

/** The trace in a request with one span, written as JSON text. */
function parseSpan(span: string): TraceData["resourceSpans"][0]["scopeSpans"][0]["spans"][0] {
  const data = parseText(`{"resourceSpans":[{"scopeSpans":[{"spans":[${span}]}]}]}`);
  return data.resourceSpans[0].scopeSpans[0].spans[0];
}

function parseValue(value: string): AnyValue {
  return parseSpan(`{"attributes":[{"key":"k","value":${value}}]}`).attributes[0].value;
}

/** Returns the value, or undefined for InvalidInput; any other error fails the test. */
function orRefuse<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (!hasCode(error, "InvalidInput")) throw error;
    return undefined;
  }
}

describe("formatTraceJson and parseTraceJson", () => {
  test("round trip", () => {
    fc.assert(
      fc.property(randomTraceData, (data) => {
        const text = formatTraceJson(data, otlp);
        expect(() => JSON.parse(text) as unknown).not.toThrow();
        expect(parseText(text)).toEqual(data);
      }),
      { numRuns: 200 },
    );
  });

  test("the OTLP dialect has hex ids and numbers, Tempo's base64 and names", () => {
    const [resourceSpans] = parseTraceJson(captureJson()).resourceSpans;
    const [scopeSpans] = resourceSpans.scopeSpans;
    resourceSpans.resource.entityRefs = [
      { schemaUrl: "", type: "service", idKeys: ["service.name"], descriptionKeys: [] },
    ];
    const charge = { ...scopeSpans.spans[1], events: [], attributes: [] };
    const data = {
      resourceSpans: [{ ...resourceSpans, scopeSpans: [{ ...scopeSpans, spans: [charge] }] }],
    };
    const common = {
      name: "charge card",
      flags: 257,
      startTimeUnixNano: String(charge.startTimeUnixNano),
      endTimeUnixNano: String(charge.endTimeUnixNano),
    };
    const hex = (id: Uint8Array): string => Buffer.from(id).toString("hex");
    const base64 = (id: Uint8Array): string => Buffer.from(id).toString("base64");
    const scope = { name: "demo", version: "0.1.0" };
    const attributes = [
      { key: "service.name", value: { stringValue: "shop" } },
      { key: "service.version", value: { stringValue: "1.2.3" } },
      { key: "deployment.environment.name", value: { stringValue: "test" } },
    ];
    expect(JSON.parse(formatTraceJson(data, otlp))).toEqual({
      resourceSpans: [
        {
          resource: { attributes, entityRefs: [{ type: "service", idKeys: ["service.name"] }] },
          scopeSpans: [
            {
              scope,
              spans: [
                {
                  ...common,
                  traceId: hex(charge.traceId),
                  spanId: hex(charge.spanId),
                  parentSpanId: hex(charge.parentSpanId),
                  kind: 3,
                  status: { code: 2, message: "declined" },
                },
              ],
            },
          ],
        },
      ],
    });
    expect(JSON.parse(formatTraceJson(data, { dialect: "tempo", key: "batches" }))).toEqual({
      batches: [
        {
          resource: { attributes },
          scopeSpans: [
            {
              scope,
              spans: [
                {
                  ...common,
                  traceId: base64(charge.traceId),
                  spanId: base64(charge.spanId),
                  parentSpanId: base64(charge.parentSpanId),
                  kind: "SPAN_KIND_CLIENT",
                  status: { code: "STATUS_CODE_ERROR", message: "declined" },
                },
              ],
            },
          ],
        },
      ],
    });
  });

  test("empty messages stay, unknown enum numbers stay numbers", () => {
    const span = { ...parseSpan("{}"), kind: 77, status: { message: "", code: -1 } };
    const resource = { attributes: [], droppedAttributesCount: 0, entityRefs: [] };
    const scope = { name: "", version: "", attributes: [], droppedAttributesCount: 0 };
    const data = {
      resourceSpans: [
        { resource, scopeSpans: [{ scope, spans: [span], schemaUrl: "" }], schemaUrl: "" },
      ],
    };
    expect(formatTraceJson(data, { dialect: "tempo", key: "resourceSpans" })).toBe(
      '{"resourceSpans":[{"resource":{},"scopeSpans":[{"scope":{},' +
        '"spans":[{"kind":77,"status":{"code":-1}}]}]}]}',
    );
  });

  test("the capture of OpenTelemetry JS decodes as by an independent decoder", () => {
    const text = readFileSync("testdata/captures/otel-json.01.decoded.json", "utf8");
    const found = JSON.parse(formatTraceJson(parseTraceJson(captureJson()), otlp)) as unknown;
    expect(found).toEqual(normalize(JSON.parse(text)));
  });
});

/** Omits what our formatter omits (zero numbers, empty lists); int64 become strings. */
function normalize(value: unknown, key = ""): unknown {
  if (Array.isArray(value)) return value.map((item) => normalize(item));
  if (typeof value !== "object" || value === null)
    return key === "intValue" ? String(value) : value;
  const entries = Object.entries(value).filter(
    ([key, one]) => key.endsWith("Value") || (one !== 0 && !(Array.isArray(one) && !one.length)),
  );
  return Object.fromEntries(entries.map(([key, one]) => [key, normalize(one, key)]));
}

describe("attributes in their storage form", () => {
  test("round trip, loss-free", () => {
    fc.assert(
      fc.property(randomAttributes, (attributes) => {
        expect(parseAttributesJson(formatAttributesJson(attributes))).toEqual(attributes);
      }),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(randomAnyValue, (value) => {
        expect(parseAnyValueJson(formatAnyValueJson(value))).toEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  test("golden text", () => {
    const golden: [AnyValue, string][] = [
      [{ kind: "string", value: 'a"\u2028' }, '{"stringValue":"a\\"\u2028"}'],
      [{ kind: "int", value: -(2n ** 63n) }, '{"intValue":"-9223372036854775808"}'],
      [{ kind: "double", value: -0 }, '{"doubleValue":-0}'],
      [{ kind: "double", value: 5 }, '{"doubleValue":5}'],
      [{ kind: "double", value: Number.NaN }, '{"doubleValue":"NaN"}'],
      [{ kind: "double", value: Number.NEGATIVE_INFINITY }, '{"doubleValue":"-Infinity"}'],
      [{ kind: "bytes", value: Uint8Array.from([255, 254]) }, '{"bytesValue":"//4="}'],
      [{ kind: "array", values: [{ kind: "empty" }] }, '{"arrayValue":{"values":[{}]}}'],
      [{ kind: "kvlist", values: [] }, '{"kvlistValue":{}}'],
    ];
    for (const [value, text] of golden) {
      expect(formatAnyValueJson(value)).toBe(text);
      expect(parseAnyValueJson(text)).toEqual(value);
    }
  });

  test("broken text is InvalidInput", () => {
    const text = '[{"key":"k","value":{"intValue":"5"}}]';
    for (let length = 0; length < text.length; length++) {
      expect(orRefuse(() => parseAttributesJson(text.slice(0, length)))).toBeUndefined();
    }
    expect(() => parseAttributesJson('[{"key":5}]')).toThrow(
      "invalid attributes at [0].key, byte 8: expected a string",
    );
  });
});

describe("variants that OTLP/JSON senders use", () => {
  test("integers are strings or numbers, always exact", () => {
    const span = parseSpan(
      '{"startTimeUnixNano":1795343975122583401,"endTimeUnixNano":"18446744073709551615"}',
    );
    expect(span.startTimeUnixNano).toBe(1_795_343_975_122_583_401n);
    expect(span.endTimeUnixNano).toBe(2n ** 64n - 1n);
    const integers: Record<string, bigint> = {
      "9007199254740993": 9_007_199_254_740_993n,
      '"-9223372036854775808"': -(2n ** 63n),
      "1e3": 1000n,
      "5.0": 5n,
      "1.2345e4": 12_345n,
      "1230e-1": 123n,
      "0e99": 0n,
      "-0": 0n,
    };
    for (const [text, value] of Object.entries(integers)) {
      expect(parseValue(`{"intValue":${text}}`), text).toEqual({ kind: "int", value });
    }
    for (const text of ["1.5", '"x"', '""', "9223372036854775808", "1e40", "true", "[]"]) {
      expect(() => parseValue(`{"intValue":${text}}`), text).toThrow(
        /attributes\[0\]\.value\.intValue/,
      );
    }
    expect(() => parseSpan('{"startTimeUnixNano":-1}')).toThrow(/not between 0 and 1844/);
    const digits = "9".repeat(1_000_000);
    expect(() => parseValue(`{"intValue":${digits}}`)).toThrow(/not an integer/);
  });

  test("doubles", () => {
    const doubles: [string, number][] = [
      ["1", 1],
      ["-0", -0],
      ['"NaN"', Number.NaN],
      ['"Infinity"', Number.POSITIVE_INFINITY],
      ['"-Infinity"', Number.NEGATIVE_INFINITY],
      ['"1.5e3"', 1500],
    ];
    for (const [text, value] of doubles) {
      expect(parseValue(`{"doubleValue":${text}}`), text).toEqual({ kind: "double", value });
    }
    for (const text of ["1e999", '"x"', '""', '"0x10"', "NaN", "null1"]) {
      expect(
        orRefuse(() => parseValue(`{"doubleValue":${text}}`)),
        text,
      ).toBeUndefined();
    }
  });

  test("enums are numbers or names, ids hex in either case, bytes base64 of either alphabet", () => {
    expect(parseSpan('{"kind":2}').kind).toBe(2);
    expect(parseSpan('{"kind":"SPAN_KIND_SERVER"}').kind).toBe(2);
    expect(parseSpan('{"kind":"2"}').kind).toBe(2);
    expect(parseSpan('{"kind":-7}').kind).toBe(-7);
    expect(parseSpan('{"status":{"code":"STATUS_CODE_ERROR"}}').status.code).toBe(2);
    expect(() => parseSpan('{"kind":"SERVER"}')).toThrow(/spans\[0\]\.kind.*SERVER is not one of/);
    expect(parseSpan('{"traceId":"aBcD"}').traceId).toEqual(Uint8Array.from([0xab, 0xcd]));
    expect(() => parseSpan('{"traceId":"PS7etQ=="}')).toThrow(/traceId.*"PS7etQ==" is not hex/);
    expect(() => parseSpan('{"spanId":"abc"}')).toThrow(/not hex/);
    const bytes = { kind: "bytes", value: Uint8Array.from([255, 254]) };
    for (const text of ["//4=", "__4", "//4"]) {
      expect(parseValue(`{"bytesValue":"${text}"}`)).toEqual(bytes);
    }
    expect(() => parseValue('{"bytesValue":"a"}')).toThrow(/not base64/);
  });

  test("unknown keys and null are skipped, a byte order mark too", () => {
    const span = parseSpan(
      '{"name":"n","x":{"y":[1,true,null,"\\u0041",{}]},"links":null,"trace_state":"no"}',
    );
    expect(span).toMatchObject({ name: "n", links: [], traceState: "" });
    expect(parseText("\ufeff{}")).toEqual({ resourceSpans: [] });
    expect(parseText(' {"resourceSpans" : null , "other" : 1}\n')).toEqual({ resourceSpans: [] });
    expect(parseValue("null")).toEqual({ kind: "empty" });
    expect(parseValue('{"arrayValue":{"values":[null,{}]}}')).toEqual({
      kind: "array",
      values: [{ kind: "empty" }, { kind: "empty" }],
    });
  });

  test("strings are unescaped correctly", () => {
    const names: [string, string][] = [
      ['"\\u00e9\\n\\/\\\\"', "é\n/\\"],
      ['"\\ud83d\\ude00x"', "😀x"],
      ['"\\ud83dx"', "\ufffdx"],
      ['"\\ud83d\\u0041"', "\ufffdA"],
      ['"😀é"', "😀é"],
    ];
    for (const [text, name] of names) expect(parseSpan(`{"name":${text}}`).name).toBe(name);
    for (const text of ['"\\x"', '"\\u12g4"', '"\n"', '"a', '"\\', '"\\u00"']) {
      expect(
        orRefuse(() => parseSpan(`{"name":${text}}`)),
        text,
      ).toBeUndefined();
    }
  });

  test("errors name the path", () => {
    const text = '{"resourceSpans":[{},{"scopeSpans":[{"spans":[{"name":5}]}]}]}';
    expect(() => parseText(text)).toThrow(
      "invalid OTLP/JSON at resourceSpans[1].scopeSpans[0].spans[0].name, byte 54: expected a string",
    );
    for (const whole of ["", "[]", "5", "{", "{}x", '{"resourceSpans":{}}', "nul"]) {
      expect(
        orRefuse(() => parseText(whole)),
        whole,
      ).toBeUndefined();
    }
  });

  test("hostile nesting is refused", () => {
    const deep = (open: string, close: string, n: number): string =>
      open.repeat(n) + "1" + close.repeat(n);
    expect(() => parseText(`{"x":${deep("[", "]", 100_000)}}`)).toThrow(/nested over/);
    expect(() => parseText(`{"x":${'{"a":'.repeat(100_000)}`)).toThrow(/nested over/);
    const values = (levels: number): string =>
      '{"arrayValue":{"values":['.repeat(levels) + "{}" + "]}}".repeat(levels);
    expect(parseValue(values(valueDepthMax - 1)).kind).toBe("array");
    expect(() => parseValue(values(valueDepthMax))).toThrow(/values nested over 64 levels/);
  });
});

describe("JsonReader", () => {
  const accepts = (text: string): boolean =>
    orRefuse(() => {
      const reader = new JsonReader(Buffer.from(text, "utf8"), "text");
      reader.skip();
      reader.end();
      return true;
    }) ?? false;
  const parses = (text: string): boolean => {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  };

  test("accepts exactly what JSON.parse accepts", () => {
    const words =
      '{ } [ ] , : " \\ "a" "\\n" "\\u0041" 0 1 -1 01 1.5 1. .5 1e5 1e - true false null';
    const tokens = fc.constantFrom(
      ...words.split(" "),
      "nul",
      "\t",
      " ",
      "é",
      "\u0001",
      "+1",
      "1E-2",
    );
    const nearJson = fc.array(tokens, { maxLength: 8 }).map((parts) => parts.join(""));
    fc.assert(
      fc.property(fc.oneof(nearJson, fc.json()), (text) => {
        expect(accepts(text)).toBe(parses(text));
      }),
      { numRuns: 5000 },
    );
  });

  test("the capture cut at each byte, and with a byte changed, gives a value or InvalidInput", () => {
    const json = captureJson();
    for (let length = 0; length < json.length; length++) {
      expect(orRefuse(() => jsonToWire(json.subarray(0, length)))).toBeUndefined();
    }
    fc.assert(
      fc.property(fc.nat(json.length - 1), fc.nat(255), (at, byte) => {
        const changed = Buffer.from(json);
        changed[at] = byte;
        const wire = orRefuse(() => jsonToWire(changed));
        if (wire !== undefined) decodeTraceData(wire);
      }),
      { numRuns: 500 },
    );
  });
});
