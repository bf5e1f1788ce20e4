/** Runs the hand-written cases of testdata/traceql/eval (see its README.md). */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { cutHead } from "#pkg/block/cut.ts";
import { openBlock } from "#pkg/block/reader.ts";
import { cutOptions } from "#pkg/block/block.testing.ts";
import { type ColumnBatch, columnOf } from "#pkg/columns/column-batch.ts";
import { hasCode } from "#pkg/errors/errors.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { AnyValue, KeyValue, Span, TraceData } from "#pkg/otlp/trace-data.ts";
import { type FieldExpr, notSupportedYet, parseQuery } from "#pkg/traceql/traceql.ts";
import { filterColumns } from "#pkg/engine/condition/filter.ts";
import { batchOfHead, headOfRecord } from "#pkg/engine/testing/spans.ts";
import { matchRows } from "#pkg/engine/trace/traces.ts";

const folder = new URL("../../testdata/traceql/eval/", import.meta.url);

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Attributes = Record<string, Json>;

interface SpanJson {
  name?: string;
  kind?: number;
  status?: number;
  message?: string;
  nanos?: number;
  parent?: string;
  span?: Attributes;
  resource?: Attributes;
  instrumentation?: Attributes;
  library?: string;
  version?: string;
  events?: { name: string; after: number; attributes?: Attributes }[];
  links?: { trace: string; span: string; attributes?: Attributes }[];
}

interface Case {
  line: number;
  query: string;
  expected: string;
}

function parseFile(name: string): { data: TraceData; cases: Case[] } {
  const data: TraceData = { resourceSpans: [] };
  const cases: Case[] = [];
  let query: string | undefined;
  for (const [i, line] of readFileSync(new URL(name, folder), "utf8").split("\n").entries()) {
    const [, word, rest] = /^(\w*) ?(.*)$/.exec(line) ?? [];
    if (line === "" || line.startsWith("#")) continue;
    if (word === "span") addSpan(data, rest[0], JSON.parse(rest.slice(2)) as SpanJson);
    else if (word === "eval") query = rest;
    else if (word === "expect" && query !== undefined) {
      cases.push({ line: i + 1, query, expected: rest });
      query = undefined;
    } else throw new Error(`${name} line ${i + 1}: ${line}`);
  }
  if (query !== undefined) throw new Error(`${name}: the last query has no answer`);
  return { data, cases };
}

function idOf(letter: string | undefined): Uint8Array {
  return letter === undefined ? new Uint8Array(0) : Buffer.from(letter.padStart(16, "0"), "hex");
}

function addSpan(data: TraceData, letter: string, json: SpanJson): void {
  const start = 1_700_000_000_000_000_000n;
  const none = { droppedAttributesCount: 0 };
  const span: Span = {
    ...none,
    traceId: Buffer.from("1".padStart(32, "0"), "hex"),
    spanId: idOf(letter),
    traceState: "",
    parentSpanId: idOf(json.parent),
    name: json.name ?? "",
    kind: json.kind ?? 0,
    startTimeUnixNano: start,
    endTimeUnixNano: start + BigInt(json.nanos ?? 0),
    attributes: attributesOf(json.span),
    events: (json.events ?? []).map(({ name, after, attributes }) => ({
      ...none,
      timeUnixNano: start + BigInt(after),
      name,
      attributes: attributesOf(attributes),
    })),
    droppedEventsCount: 0,
    links: (json.links ?? []).map(({ trace, span: id, attributes }) => ({
      ...none,
      traceId: Buffer.from(trace, "hex"),
      spanId: Buffer.from(id, "hex"),
      traceState: "",
      attributes: attributesOf(attributes),
      flags: 0,
    })),
    droppedLinksCount: 0,
    status: { code: json.status ?? 0, message: json.message ?? "" },
    flags: 0,
  };
  const library = { name: json.library ?? "", version: json.version ?? "" };
  const scope = { ...none, ...library, attributes: attributesOf(json.instrumentation) };
  data.resourceSpans.push({
    resource: { ...none, attributes: attributesOf(json.resource), entityRefs: [] },
    schemaUrl: "",
    scopeSpans: [{ scope, schemaUrl: "", spans: [span] }],
  });
}

function attributesOf(json: Attributes = {}): KeyValue[] {
  return Object.entries(json).map(([key, value]) => ({ key, value: valueOf(value) }));
}

function valueOf(json: Json): AnyValue {
  if (json === null) return { kind: "empty" };
  if (typeof json === "string") return { kind: "string", value: json };
  if (typeof json === "boolean") return { kind: "bool", value: json };
  if (typeof json === "number") return { kind: "int", value: BigInt(json) };
  if (Array.isArray(json)) return { kind: "array", values: json.map((item) => valueOf(item)) };
  if ("double" in json) return { kind: "double", value: json.double as number };
  return { kind: "kvlist", values: attributesOf(json.list as Attributes) };
}

async function blockOf(data: TraceData): Promise<ColumnBatch> {
  const { bytes } = cutHead(headOfRecord(encodeTraceData(data)), {
    ...cutOptions,
    rowGroupSpans: 100,
  });
  const store = new MemoryStore();
  await store.put("block", bytes);
  const block = await openBlock({ store, key: "block", sizeBytes: bytes.length });
  return await block.readRowGroup(0);
}

function filterOf(query: string): FieldExpr {
  const parsed = parseQuery(query);
  expect(notSupportedYet(parsed)).toBeUndefined();
  const [stage] = parsed.body.kind === "pipeline" ? parsed.body.stages : [];
  if (stage?.kind !== "filter") throw new Error(`not one filter: ${query}`);
  return stage.expr;
}

function answerOf(batch: ColumnBatch, query: string): string {
  const filter = filterOf(query);
  const names = ["span_id", ...filterColumns(filter)];
  const column = (name: string): ReturnType<ColumnBatch["column"]> =>
    names.includes(name) ? batch.column(name) : undefined;
  let hits: Uint8Array;
  try {
    const all = new Uint8Array(batch.rows).fill(1);
    hits = matchRows({ rows: batch.rows, names, column }, filter, all).hits;
  } catch (error) {
    if (hasCode(error, "InvalidInput") && error.reason === "traceql_value") return "error";
    throw error;
  }
  const ids = [...columnOf(batch, "span_id", "int64")!.values];
  const letters = ids.filter((_, row) => hits[row] === 1).map((id) => id.toString(16));
  return letters.length === 0 ? "nothing" : letters.sort().join(" ");
}

describe.each(readdirSync(folder))("%s", (name) => {
  const { data, cases } = parseFile(name);

  it.each(cases)("line $line: $query", async ({ query, expected }) => {
    const head = batchOfHead(headOfRecord(encodeTraceData(data)));
    expect({ head: answerOf(head, query), block: answerOf(await blockOf(data), query) }).toEqual({
      head: expected,
      block: expected,
    });
  });
});
