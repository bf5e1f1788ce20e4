import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { randomWire } from "#pkg/otlp/random-otlp.ts";
import { splitRequest } from "#pkg/otlp/split.ts";
import { canonicalSpans } from "./canonical.ts";
import { Head } from "./head.ts";
import { HeadBatch } from "./head-batch.ts";
import { HeadDecoder } from "./head-decode.ts";
import { readSpans } from "./spans.ts";

/** The record that a distributor with one partition would log: invalid spans taken out. */
function recordOf(wire: Uint8Array): Uint8Array {
  const { parts } = splitRequest(wire, { partitionCount: 1 });
  return Buffer.concat(parts.map((part) => part.record));
}

function range(rows: number): Uint32Array {
  return Uint32Array.from({ length: rows }, (_, i) => i);
}

describe("head", () => {
  it("gives back every span of any request, with all or some attributes as columns", () => {
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
      { numRuns: 200 },
    );
  });

  it("takes back a record that does not parse, whole", () => {
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
      { numRuns: 200 },
    );
  });
});
