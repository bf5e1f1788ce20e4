import fc from "fast-check";
import { describe, expect, it, inject } from "vitest";
import { canonicalSpans } from "#pkg/columns/canonical.ts";
import { Head } from "#pkg/columns/head.ts";
import { HeadDecoder } from "#pkg/columns/head-decode.ts";
import { readSpans } from "#pkg/columns/spans.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { randomWire } from "#pkg/otlp/random-otlp.testing.ts";
import { splitRequest } from "#pkg/otlp/split.ts";
import { cutHead, type CutOptions } from "./cut.ts";
import { openBlock } from "./reader.ts";

const options: CutOptions = {
  rowGroupSpans: 5,
  plausibleFromNano: 2n ** 62n,
  plausibleToNano: 2n ** 63n,
  partition: { index: 0, count: 1 },
  createdBy: "spoor test",
  tableColumns: [],
};

describe("block", () => {
  it("returns every span of any request", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(randomWire, { maxLength: 4 }), async (requests) => {
        const head = new Head(7);
        const decoder = new HeadDecoder(head);
        const expected: string[] = [];
        for (const { bytes } of requests) {
          for (const { record } of splitRequest(bytes, { partitionCount: 1 }).parts) {
            decoder.decode(record);
            expected.push(...canonicalSpans(decodeTraceData(record)));
          }
        }
        if (expected.length === 0) return;
        const block = cutHead(head.freeze(), options);
        const store = new MemoryStore();
        await store.put("t/b.parquet", block.bytes);
        const sizeBytes = block.bytes.length;
        const reader = await openBlock({ store, key: "t/b.parquet", sizeBytes });
        const found: string[] = [];
        for (let i = 0; i < reader.rowGroups.length; i++) {
          const batch = await reader.readRowGroup(i);
          const rows = Uint32Array.from({ length: batch.rows }, (_, row) => row);
          found.push(...canonicalSpans(readSpans(batch, rows)));
        }
        reader.close();
        expect(new Set(found)).toEqual(new Set(expected));
        expect(found.length + block.duplicateSpans).toBe(expected.length);
      }),
      { numRuns: 25 * inject("depth") },
    );
  });
});
