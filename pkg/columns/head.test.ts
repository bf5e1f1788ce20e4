import fc from "fast-check";
import { describe, expect, it, inject } from "vitest";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { AnyValue, KeyValue, TraceData } from "#pkg/otlp/trace-data.ts";
import { randomWire } from "#pkg/otlp/random-otlp.testing.ts";
import { splitRequest } from "#pkg/otlp/split.ts";
import { canonicalSpans } from "./canonical.ts";
import { Head } from "./head.ts";
import { HeadBatch } from "./head-batch.ts";
import { HeadDecoder } from "./head-decode.ts";
import { readSpans } from "./spans.ts";

/** The record that a distributor with one partition would log, without invalid spans. */
function recordOf(wire: Uint8Array): Uint8Array {
  const { parts } = splitRequest(wire, { partitionCount: 1 });
  return Buffer.concat(parts.map((part) => part.record));
}

function range(rows: number): Uint32Array {
  return Uint32Array.from({ length: rows }, (_, i) => i);
}

/** One span with these attributes. */
function dataOf(attributes: KeyValue[]): TraceData {
  const none = { droppedAttributesCount: 0, droppedEventsCount: 0, droppedLinksCount: 0 };
  const ids = { traceId: Buffer.alloc(16, 1), spanId: Buffer.alloc(8, 2) };
  const times = { startTimeUnixNano: 1n, endTimeUnixNano: 2n };
  const texts = { traceState: "", name: "", parentSpanId: Buffer.alloc(0) };
  const status = { message: "", code: 0 };
  const span = { ...none, ...ids, ...times, ...texts, status, kind: 0, flags: 0 };
  const spans = [{ ...span, attributes, events: [], links: [] }];
  const scope = { name: "", version: "", attributes: [], droppedAttributesCount: 0 };
  const resource = { attributes: [], droppedAttributesCount: 0, entityRefs: [] };
  const scopeSpans = [{ scope, spans, schemaUrl: "" }];
  return { resourceSpans: [{ resource, scopeSpans, schemaUrl: "" }] };
}

describe("head", () => {
  it("returns every span of any request, with all or some attributes as columns", () => {
    fc.assert(
      fc.property(fc.array(randomWire, { maxLength: 3 }), fc.nat(), (requests, seed) => {
        const head = new Head(seed);
        const decoder = new HeadDecoder(head);
        const expected: string[] = [];
        for (const { bytes } of requests) {
          const record = recordOf(bytes);
          expected.push(...canonicalSpans(decodeTraceData(record)));
          decoder.decode(record);
        }
        const data = head.freeze();
        expected.sort();
        const rows = range(data.rows);
        const all = new HeadBatch(data, rows);
        expect(canonicalSpans(readSpans(all, rows))).toEqual(expected);
        const chosen = new Set([...all.attributeRows().keys()].filter((_, i) => i % 2 === 0));
        const some = new HeadBatch(data, rows.toReversed(), chosen);
        expect(canonicalSpans(readSpans(some, rows))).toEqual(expected);
      }),
      { numRuns: 50 * inject("depth") },
    );
  });

  it("keeps all values of a repeated key in order, whatever their types", () => {
    const values: AnyValue[] = [
      { kind: "string", value: "error" },
      { kind: "int", value: -5n },
      { kind: "double", value: -0 },
      { kind: "bool", value: true },
      { kind: "array", values: [] },
      { kind: "string", value: "ok" },
    ];
    for (const [i, first] of values.entries()) {
      for (const second of [...values.slice(i), ...values.slice(0, i)]) {
        const others = values.slice(0, i).map((value, at) => ({ key: `other.${at}`, value }));
        const repeats = [first, second, first].map((value) => ({ key: "e", value }));
        const attributes = [repeats[0], ...others, repeats[1], repeats[2]];
        const data = dataOf(attributes);
        const head = new Head(1);
        new HeadDecoder(head).decode(encodeTraceData(data));
        // Without columns, and with all that are possible.
        for (const chosen of [undefined, new Set<string>()]) {
          const batch = new HeadBatch(head.freeze(), range(1), chosen);
          const [found] = readSpans(batch, [0]).resourceSpans[0].scopeSpans[0].spans;
          expect(found.attributes.filter(({ key }) => key === "e")).toEqual(repeats);
          expect(found.attributes).toHaveLength(attributes.length);
        }
      }
    }
  });

  it("rolls a record back if it does not parse", () => {
    fc.assert(
      fc.property(randomWire, randomWire, fc.nat(), (first, second, cut) => {
        const head = new Head(1);
        const decoder = new HeadDecoder(head);
        decoder.decode(recordOf(first.bytes));
        const before = head.freeze();
        const record = recordOf(second.bytes);
        const broken = record.subarray(0, cut % Math.max(1, record.length));
        let failed = false;
        try {
          decoder.decode(broken);
        } catch {
          failed = true;
        }
        if (!failed) return;
        expect(head.rows).toBe(before.rows);
        const rows = range(before.rows);
        const expected = canonicalSpans(readSpans(new HeadBatch(before, rows), rows));
        const now = canonicalSpans(readSpans(new HeadBatch(head.freeze(), rows), rows));
        expect(now).toEqual(expected);
      }),
      { numRuns: 50 * inject("depth") },
    );
  });
});
