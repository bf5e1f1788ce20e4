import * as fc from "fast-check";
import { expect, test } from "vitest";
import { exampleTraceIds } from "./example-ids.ts";
import { randomWire } from "./random-otlp.testing.ts";

test("ids are those of the first spans, even of a truncated or invalid request", () => {
  fc.assert(
    fc.property(randomWire, fc.nat(), fc.nat(255), ({ data, bytes }, at, byte) => {
      const spans = data.resourceSpans.flatMap((one) => one.scopeSpans.flatMap((s) => s.spans));
      const all = new Set(
        spans
          .filter(({ traceId }) => traceId.length === 16)
          .map(({ traceId }) => Buffer.from(traceId).toString("hex")),
      );
      expect(exampleTraceIds(bytes, Number.POSITIVE_INFINITY).toSorted()).toEqual([...all].sort());
      expect(exampleTraceIds(bytes, 2).length).toBe(Math.min(2, all.size));
      const start = at % (bytes.length + 1);
      for (const id of exampleTraceIds(bytes.subarray(0, start))) expect(all).toContain(id);
      const broken = Uint8Array.from(bytes);
      if (start < broken.length) broken[start] = byte;
      exampleTraceIds(broken);
    }),
  );
});
