/** Test support: blocks of random or given requests, in memory. */
import { Head } from "#pkg/columns/head.ts";
import { HeadDecoder } from "#pkg/columns/head-decode.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { KeyValue, Span, SpanLink, TraceData } from "#pkg/otlp/trace-data.ts";
import { splitRequest } from "#pkg/otlp/split.ts";
import type { BlockFile } from "#pkg/table/delta-table.ts";
import { blockPath, toBlockFile } from "./block-file.ts";
import { type CutBlock, cutHead, type CutOptions } from "./cut.ts";

export const cutOptions: CutOptions = {
  rowGroupSpans: 5,
  plausibleFromNano: 2n ** 60n,
  plausibleToNano: 2n ** 63n,
  partition: { index: 0, count: 1 },
  createdBy: "spoor test",
  tableColumns: [],
};

/** Returns a head with the spans of some requests that belong to the partition. */
export function headOf(
  requests: readonly Uint8Array[],
  partition: { index: number; count: number } = cutOptions.partition,
): Head {
  const head = new Head(7);
  const decoder = new HeadDecoder(head);
  for (const bytes of requests) {
    const { parts } = splitRequest(bytes, { partitionCount: partition.count });
    for (const part of parts) if (part.partition === partition.index) decoder.decode(part.record);
  }
  return head;
}

/** Cuts a block from some requests; undefined if they have no span of the partition. */
export function cutRequests(
  requests: readonly Uint8Array[],
  options: Partial<CutOptions> = {},
): CutBlock | undefined {
  const all = { ...cutOptions, ...options };
  const head = headOf(requests, all.partition);
  return head.rows === 0 ? undefined : cutHead(head.freeze(), all);
}

/** Cuts a block from the given spans. */
export function cutTraces(data: TraceData, options: Partial<CutOptions> = {}): CutBlock {
  return cutRequests([encodeTraceData(data)], options)!;
}

export const testUlid = "01JDB0000000000000000000ZZ";
export const testKey: string = `t/${blockPath(testUlid, 1_700_000_000_000)}`;

/** Returns a store with these bytes under `testKey`. */
export async function storeOf(bytes: Uint8Array): Promise<MemoryStore> {
  const store = new MemoryStore();
  await store.put(testKey, bytes);
  return store;
}

/** Returns the table entry of a block. */
export function commitOf(
  block: CutBlock,
  partition: { index: number; count: number } = cutOptions.partition,
): BlockFile {
  const path = testKey.slice(2);
  return toBlockFile(block, { path, sizeBytes: block.bytes.length, modifiedMs: 1, partition });
}

/** Returns traces of four spans with attributes of all types, some of them in the rest lists. */
export function sampleTraces(traces = 10): TraceData {
  const spans: Span[] = [];
  for (let trace = 0; trace < traces; trace++) {
    for (let i = 0; i < 4; i++) spans.push(sampleSpan(trace, i));
  }
  const scope = { name: "lib", version: "1.2", attributes: [], droppedAttributesCount: 0 };
  const attributes: KeyValue[] = [
    { key: "service.name", value: { kind: "string", value: "shop" } },
    { key: "tags", value: { kind: "array", values: [{ kind: "int", value: 1n }] } },
  ];
  const resource = { attributes, droppedAttributesCount: 0, entityRefs: [] };
  return {
    resourceSpans: [{ resource, scopeSpans: [{ scope, spans, schemaUrl: "" }], schemaUrl: "" }],
  };
}

function sampleSpan(trace: number, i: number): Span {
  const traceId = new Uint8Array(16);
  new DataView(traceId.buffer).setUint32(12, trace * 7919 + 1);
  const idOf = (n: number): Uint8Array => Uint8Array.of(0, 0, 0, 0, 0, trace, 7, n + 1);
  const start = 1_700_000_000_000_000_000n + BigInt(trace * 1_000_000 + i * 1000);
  const attributes: KeyValue[] = [
    { key: "http.method", value: { kind: "string", value: i % 2 === 0 ? "GET" : "POST" } },
    { key: "code", value: { kind: "int", value: BigInt(200 + i) } },
    { key: "ratio", value: { kind: "double", value: i / 4 } },
    { key: "cached", value: { kind: "bool", value: i === 1 } },
    { key: "order", value: { kind: "string", value: `o-${trace}-${i}` } },
  ];
  if (trace === 0) attributes.push({ key: "odd key", value: { kind: "string", value: "é" } });
  const event = { timeUnixNano: start + 5n, name: "retry", attributes, droppedAttributesCount: 0 };
  const none = { droppedAttributesCount: 0, droppedEventsCount: 0, droppedLinksCount: 0 };
  return {
    ...none,
    traceId,
    spanId: idOf(i),
    traceState: "",
    parentSpanId: i === 0 ? new Uint8Array(0) : idOf((i - 1) >> 1),
    name: `op ${i}`,
    kind: 2,
    startTimeUnixNano: start,
    endTimeUnixNano: start + 500n * BigInt(i + 1),
    attributes,
    events: i === 2 ? [event] : [],
    links: i === 3 ? [{ ...noLink, traceId, spanId: idOf(0) }] : [],
    status: { message: i === 3 ? "no" : "", code: i === 3 ? 2 : 0 },
    flags: 1,
  };
}

const noLink: Omit<SpanLink, "traceId" | "spanId"> = {
  traceState: "",
  attributes: [],
  droppedAttributesCount: 0,
  flags: 0,
};
