/** Test support: short descriptions of spans, and real heads and blocks built from them. */
import { toBlockFile } from "#pkg/block/block-file.ts";
import { cutHead } from "#pkg/block/cut.ts";
import { Head, type HeadData } from "#pkg/columns/head.ts";
import { HeadBatch } from "#pkg/columns/head-batch.ts";
import { HeadDecoder } from "#pkg/columns/head-decode.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { KeyValue, TraceData } from "#pkg/otlp/trace-data.ts";
import type { BlockFile } from "#pkg/table/delta-table.ts";

export interface SpanSpec {
  /** 32 hex digits. */
  traceId: string;
  /** 16 hex digits. */
  spanId: string;
  /** 16 hex digits; undefined for a root. */
  parentId?: string;
  service?: string;
  name?: string;
  startNano: bigint;
  endNano: bigint;
  isError?: boolean;
  /** Attributes of the span; a bigint is an integer, a number a double. */
  attributes?: Record<string, string | bigint | number | boolean>;
}

/** Returns the spans in order, each with its own resource. */
export function traceDataOf(specs: readonly SpanSpec[]): TraceData {
  return {
    resourceSpans: specs.map((spec) => ({
      resource: {
        attributes: spec.service === undefined ? [] : [text("service.name", spec.service)],
        droppedAttributesCount: 0,
        entityRefs: [],
      },
      schemaUrl: "",
      scopeSpans: [
        {
          scope: { name: "", version: "", attributes: [], droppedAttributesCount: 0 },
          schemaUrl: "",
          spans: [
            {
              traceId: Buffer.from(spec.traceId, "hex"),
              spanId: Buffer.from(spec.spanId, "hex"),
              traceState: "",
              parentSpanId: Buffer.from(spec.parentId ?? "", "hex"),
              name: spec.name ?? "",
              kind: 0,
              startTimeUnixNano: spec.startNano,
              endTimeUnixNano: spec.endNano,
              attributes: Object.entries(spec.attributes ?? {}).map(([k, v]) => attribute(k, v)),
              droppedAttributesCount: 0,
              events: [],
              droppedEventsCount: 0,
              links: [],
              droppedLinksCount: 0,
              status: { message: "", code: spec.isError === true ? 2 : 0 },
              flags: 0,
            },
          ],
        },
      ],
    })),
  };
}

function text(key: string, value: string): KeyValue {
  return { key, value: { kind: "string", value } };
}

function attribute(key: string, value: string | bigint | number | boolean): KeyValue {
  if (typeof value === "string") return text(key, value);
  if (typeof value === "bigint") return { key, value: { kind: "int", value } };
  if (typeof value === "number") return { key, value: { kind: "double", value } };
  return { key, value: { kind: "bool", value } };
}

/** Returns a frozen head of these spans. */
export function headOf(specs: readonly SpanSpec[]): HeadData {
  return headOfRecord(encodeTraceData(traceDataOf(specs)));
}

/** Returns a frozen head of an ExportTraceServiceRequest. */
export function headOfRecord(record: Uint8Array): HeadData {
  const head = new Head(7);
  new HeadDecoder(head).decode(record);
  return head.freeze();
}

export function batchOfHead(data: HeadData): HeadBatch {
  const rows = Uint32Array.from({ length: data.rows }, (_, row) => row);
  return new HeadBatch(data, rows);
}

export interface TestBlock {
  tenant: string;
  /** Path below the tenant's prefix. */
  path: string;
  head: HeadData;
  partition: { index: number; count: number };
  rowGroupSpans: number;
  /** See OrderOptions. */
  newestSpans?: readonly number[];
}

/** Cuts a head and stores the block; returns its entry for the table's commit. */
export async function putBlock(store: ObjectStore, block: TestBlock): Promise<BlockFile> {
  const { tenant, path, head, partition, rowGroupSpans, newestSpans } = block;
  const written = cutHead(head, {
    rowGroupSpans,
    newestSpans,
    plausibleFromNano: 0n,
    plausibleToNano: 2n ** 63n - 1n,
    partition,
    createdBy: "spoor test",
    tableColumns: [],
  });
  await store.put(`${tenant}/${path}`, written.bytes);
  const sizeBytes = written.bytes.length;
  return toBlockFile(written, { path, sizeBytes, modifiedMs: 0, partition });
}
