import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseBlockTags } from "#pkg/block/block-file.ts";
import { openBlock } from "#pkg/block/reader.ts";
import { canonicalSpans } from "#pkg/columns/canonical.ts";
import {
  batchOfHead,
  headOfRecord,
  putBlock,
  type SpanSpec,
  traceDataOf,
} from "#pkg/engine/testing/spans.ts";
import { findTrace } from "#pkg/engine/trace/traces.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import { randomWire } from "#pkg/otlp/random-otlp.testing.ts";
import { splitRequest } from "#pkg/otlp/split.ts";
import { encodeTraceAnswer, type TraceFormat } from "./trace-answer.ts";
import { mergeTraces } from "#pkg/query/merge-trace.ts";

const span: SpanSpec = {
  traceId: "000102030405060708090a0b0c0d0e0f",
  spanId: "1011121314151617",
  service: "shop",
  name: "GET /",
  startNano: 1_700_000_000_000_000_000n,
  endNano: 1_700_000_000_000_000_001n,
  isError: true,
};

function answer(specs: SpanSpec[], format: TraceFormat, partial = ""): Buffer {
  const pieces = specs.map((one) => encodeTraceData(traceDataOf([one])));
  return Buffer.from(encodeTraceAnswer({ pieces, format, partial }));
}

const resourceSpansJson = {
  resource: { attributes: [{ key: "service.name", value: { stringValue: "shop" } }] },
  scopeSpans: [
    {
      scope: {},
      spans: [
        {
          traceId: "AAECAwQFBgcICQoLDA0ODw==",
          spanId: "EBESExQVFhc=",
          name: "GET /",
          startTimeUnixNano: "1700000000000000000",
          endTimeUnixNano: "1700000000000000001",
          status: { code: "STATUS_CODE_ERROR" },
        },
      ],
    },
  ],
};

/** ResourceSpans of the span above with other resource attributes, as protobuf: tag by tag. */
function resourceSpansHex(attribute: string): string {
  const id = "0a10000102030405060708090a0b0c0d0e0f12081011121314151617";
  const times = "3900002a36fe9c97174101002a36fe9c9717";
  const fields = `${id}2a05474554202f${times}7a021802`;
  const spanField = `12${length(fields)}${fields}`;
  const scopeSpans = `0a00${spanField}`;
  const resource = `0a${length(attribute)}${attribute}`;
  return `${resource}12${length(scopeSpans)}${scopeSpans}`;
}

/** The length of a message as a varint. */
function length(hex: string): string {
  const bytes = hex.length / 2;
  const low = bytes < 128 ? [bytes] : [(bytes & 127) | 128, bytes >> 7];
  return Buffer.from(low).toString("hex");
}

describe("encodeTraceAnswer", () => {
  it("writes the JSON of both versions", () => {
    expect(JSON.parse(answer([span], "v1-json").toString())).toEqual({
      batches: [resourceSpansJson],
    });
    expect(JSON.parse(answer([span], "v2-json").toString())).toEqual({
      trace: { resourceSpans: [resourceSpansJson] },
      metrics: {},
    });
    expect(JSON.parse(answer([span], "v2-json", 'a "b"').toString())).toEqual({
      trace: { resourceSpans: [resourceSpansJson] },
      metrics: {},
      status: "PARTIAL",
      message: 'a "b"',
    });
    expect(answer([], "v2-json", "why").toString()).toBe(
      '{"trace":{},"metrics":{},"status":"PARTIAL","message":"why"}',
    );
  });

  it("writes version 1 protobuf as OTLP's TracesData", () => {
    const message = resourceSpansHex("");
    const hex = answer([{ ...span, service: undefined }], "v1-protobuf").toString("hex");
    expect(hex).toBe(`0a${length(message)}${message}`);
  });

  it("writes version 2 protobuf with all that Grafana dereferences", () => {
    // A resource without attributes gets one, or Grafana hides its spans.
    const attribute = Buffer.concat([
      Buffer.from("0a210a0c", "hex"),
      Buffer.from("service.name"),
      Buffer.from("12110a0f", "hex"),
      Buffer.from("unknown_service"),
    ]).toString("hex");
    const message = resourceSpansHex(attribute);
    const list = `0a${length(message)}${message}`;
    const hex = answer([{ ...span, service: undefined }], "v2-protobuf").toString("hex");
    expect(hex).toBe(`0a${length(list)}${list}1200`);
    expect(answer([], "v2-protobuf", "why").toString("hex")).toBe("0a00120018012203776879");
    expect(answer([], "v2-protobuf").toString("hex")).toBe("0a001200");
  });

  it("gives the same answer from a head and from a block, whatever was sent", async () => {
    await fc.assert(
      fc.asyncProperty(randomWire, fc.integer({ min: 1, max: 5 }), async ({ bytes }, size) => {
        const [part] = splitRequest(bytes, { partitionCount: 1 }).parts;
        if (part === undefined) return;
        const head = headOfRecord(part.record);
        const store = new MemoryStore();
        const partition = { index: 0, count: 1 };
        const place = { tenant: "t", path: "b.parquet", partition, rowGroupSpans: size };
        const file = await putBlock(store, { ...place, head });
        const { indexOffset } = parseBlockTags(file);
        const { sizeBytes } = file;
        const reader = await openBlock({ store, key: "t/b.parquet", sizeBytes, indexOffset });
        const live = batchOfHead(head);
        const ids = new Set(
          decodeTraceData(part.record)
            .resourceSpans.flatMap(({ scopeSpans }) => scopeSpans)
            .flatMap(({ spans }) => spans)
            .map(({ traceId }) => Buffer.from(traceId).toString("hex")),
        );
        for (const id of ids) {
          const traceId = Buffer.from(id, "hex");
          const fromBlock: Uint8Array[] = [];
          for (const i of reader.rowGroups.keys()) {
            fromBlock.push(...findTrace(await reader.readRowGroup(i), traceId));
          }
          const fromHead = findTrace(live, traceId);
          for (const format of ["v1-json", "v2-protobuf"] as const) {
            const [a, b, both] = [fromHead, fromBlock, [...fromHead, ...fromBlock]].map((pieces) =>
              Buffer.from(encodeTraceAnswer({ pieces, format, partial: "" })).toString("latin1"),
            );
            expect(a).toBe(b);
            expect(both).toBe(a);
          }
        }
        reader.close();
      }),
      { numRuns: 20 },
    );
  });

  it("keeps every span of what it merges", () => {
    fc.assert(
      fc.property(randomWire, ({ bytes }) => {
        const data = decodeTraceData(bytes);
        const expected = [...new Set(canonicalSpans(data))].sort();
        expect(canonicalSpans(mergeTraces([data]))).toEqual(expected);
        expect(canonicalSpans(mergeTraces([data, data]))).toEqual(expected);
      }),
      { numRuns: 50 },
    );
  });
});
