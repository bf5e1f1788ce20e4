/** All code uses one rule for the root of a trace, for any order of arrival. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { cutHead } from "#pkg/block/cut.ts";
import { openBlock } from "#pkg/block/reader.ts";
import { type ColumnBatch, columnOf, valueText } from "#pkg/columns/column-batch.ts";
import { compareRoots } from "#pkg/columns/trace-root.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import { headRoots } from "#pkg/engine/tags/tag-roots.ts";
import { batchOfHead, headOf, type SpanSpec } from "#pkg/engine/testing/spans.ts";
import { withTraceColumns } from "./trace-columns.ts";
import { traceDetails } from "./traces.ts";

const traceId = "000000000000000000000000000000ab";
/** In UTF-16 the second comes before the first, in UTF-8 after it. */
const names = ["\uffee", "\u{1f600}", "x", ""];

/** Few times, so that most roots tie; ids differ. */
const spans = fc
  .array(
    fc.record({
      start: fc.integer({ min: 1, max: 2 }),
      service: fc.constantFrom("a", "b"),
      name: fc.constantFrom(...names),
      isRoot: fc.boolean(),
    }),
    { minLength: 1, maxLength: 30 },
  )
  .chain((all) =>
    fc.shuffledSubarray(
      all.map(({ start, service, name, isRoot }, i): SpanSpec => ({
        traceId,
        spanId: (i + 1).toString(16).padStart(16, "0"),
        ...(isRoot ? {} : { parentId: "00000000000000ff" }),
        service,
        name,
        startNano: BigInt(start),
        endNano: 10n,
      })),
      { minLength: all.length },
    ),
  );

/** Returns the value of the first row: all rows of a trace have the same value. */
function firstText(batch: ColumnBatch, name: string): string {
  const column = columnOf(batch, name, "dict");
  return column === undefined || column.codes[0] < 0
    ? ""
    : valueText(column.dictionary, column.codes[0]);
}

it("is the same for details, filters, tags of heads and blocks", async () => {
  await fc.assert(
    fc.asyncProperty(spans, async (specs) => {
      const rootless = { service: "", name: "" };
      const [expected = rootless] = specs
        .filter(({ parentId }) => parentId === undefined)
        .map(({ spanId, service = "", name = "", startNano }) => ({
          spanId,
          service,
          name,
          startNano,
        }))
        .sort(compareRoots);
      const head = headOf(specs);
      const batch = batchOfHead(head);
      const range = { startNano: 0n, endNano: 100n };
      const ids = Buffer.from(traceId, "hex");
      const [{ root = rootless }] = traceDetails(batch, { ...range, ids, spansPerTrace: 0 });
      const all = new Uint8Array(specs.length).fill(1);
      const whole = withTraceColumns(batch, ["trace:rootName", "trace:rootService"], all).batch;
      const tags = (what: "name" | "service"): ColumnBatch => ({
        rows: batch.rows,
        names: ["it"],
        column: () => headRoots(batch, what),
      });
      const block = cutHead(head, {
        rowGroupSpans: 100,
        plausibleFromNano: 0n,
        plausibleToNano: 2n ** 62n,
        partition: { index: 0, count: 1 },
        createdBy: "test",
        tableColumns: [],
      });
      const store = new MemoryStore();
      await store.put("b", block.bytes);
      const reader = await openBlock({ store, key: "b", sizeBytes: block.bytes.length });
      const stored = await reader.readRowGroup(0, ["root_name", "root_service"]);
      reader.close();
      const told = [
        [root.service, root.name],
        [firstText(whole, "root_service"), firstText(whole, "root_name")],
        [firstText(tags("service"), "it"), firstText(tags("name"), "it")],
        [firstText(stored, "root_service"), firstText(stored, "root_name")],
      ];
      expect(told).toEqual(told.map(() => [expected.service, expected.name]));
    }),
    { numRuns: 60 },
  );
});
