import { afterAll, describe, expect, it } from "vitest";
import type { Column } from "#pkg/columns/column-batch.ts";
import type { BlockFile } from "#pkg/table/delta-table.ts";
import type { Finding, FindingCause } from "#pkg/block/verify/findings.ts";
import {
  footerRowGroups,
  setInt64,
  setStructList,
  structField,
  structList,
} from "#pkg/parquet/footer.ts";
import type { PartLocation } from "./place.ts";
import { decodeTagKeys, valueLocations } from "#pkg/block/index/tag-parts.ts";
import { type BlockParts, putTogether, rewrite, takeApart, withInt } from "./take-apart.testing.ts";
import { commitOf, cutTraces, sampleTraces, storeOf, testKey } from "./block.testing.ts";
import { BlockVerifier } from "#pkg/block/verify/verify.ts";

const verifier = new BlockVerifier();
afterAll(async () => {
  await verifier.close();
});

/** Row groups of 8 spans: two traces each. */
const block = cutTraces(sampleTraces(), { rowGroupSpans: 8 });
const single = cutTraces(sampleTraces(), { rowGroupSpans: 1000 });
const parts = takeApart(block.bytes);
const [valuesPlace] = valueLocations(
  decodeTagKeys(block.bytes.subarray(parts.directory.tags.offset, endOf(parts.directory.tags)), 2),
);
const chunks = footerRowGroups(parts.footer);
const chunkOf = (name: string, rowGroup = 1) =>
  chunks[rowGroup].columns.find((chunk) => chunk.name === name)!;

function endOf({ offset, sizeBytes }: PartLocation): number {
  return offset + sizeBytes;
}

async function verify(bytes: Uint8Array, file?: BlockFile): Promise<Finding[]> {
  return await verifier.verify({ store: await storeOf(bytes), key: testKey, file });
}

/** The block with the lowest bit of one byte flipped. */
function flipped(at: number): Uint8Array {
  const bytes = Uint8Array.from(block.bytes);
  bytes[at] ^= 1;
  return bytes;
}

function changed(change: (parts: BlockParts) => void): Uint8Array {
  const fresh = takeApart(block.bytes);
  change(fresh);
  return putTogether(fresh);
}

async function rewritten(change: (columns: Map<string, Column>) => void): Promise<Uint8Array> {
  return (await rewrite(single.bytes, change)).bytes;
}

const size = block.bytes.length;

/** A change to the block, and the cause and the place that must be among the findings. */
const flips: [string, number, FindingCause, string][] = [
  ["leading magic", 0, "magic", "start of file"],
  ["trailing magic", size - 1, "magic", "end of file"],
  ["footer length", size - 8, "trailer", "index trailer"],
  ["footer", size - 100, "footer", "Parquet footer"],
  ["data page", chunkOf("span_id").dataStart + 20, "checksum", "data pages of column span_id of"],
  ["dictionary page", chunkOf("name").start + 10, "checksum", "dictionary page of column name of"],
  ["offset index", chunkOf("kind").offsetIndexOffset, "checksum", "offset index of column kind of"],
  ["bloom shard", block.bloom.offset, "index_part", "bloom shard 0"],
  [
    "tag index",
    parts.directory.rowGroups[2].tags.offset + 9,
    "index_part",
    "tag index of row group 2",
  ],
  ["values of a tag", valuesPlace.offset + 9, "index_part", "tag index of the block"],
  ["block's tag index", parts.directory.tags.offset + 9, "index_part", "tag index of the block"],
  ["segment list", parts.directory.segments.offset + 1, "index_part", "segment list"],
  ["directory", parts.footerOffset - 60, "directory", "index directory"],
  ["trailer", parts.footerOffset - 30, "trailer", "index trailer"],
  ["trailer's magic", parts.footerOffset - 1, "trailer", "index trailer"],
];

const changes: [string, (parts: BlockParts) => void, FindingCause, string][] = [
  ["partition", (p) => (p.directory.partition = { index: 3, count: 4 }), "partition", "row group"],
  ["count of traces", (p) => p.directory.rowGroups[0].traces++, "directory", "row group 0"],
  ["earliest start", (p) => (p.directory.rowGroups[1].minStartNano = "5"), "times", "row group 1"],
  [
    "latest start",
    (p) => (p.directory.rowGroups[1].maxStartNano = String(2n ** 62n)),
    "times",
    "row group 1",
  ],
  [
    "latest end",
    (p) => (p.directory.rowGroups[2].maxEndNano = p.directory.rowGroups[2].minStartNano),
    "times",
    "row group 2",
  ],
  ["bit of the bloom filter", clearBit, "bloom", "bloom shard 0"],
  ["value of a tag", (p) => valuesOf(p.rowGroupTags[1], "name").pop(), "tag_index", "key name"],
  [
    "count of a value",
    (p) => valuesOf(p.rowGroupTags[1], "name")[0][1]++,
    "tag_index",
    "row group 1, key name",
  ],
  ["key", (p) => p.rowGroupTags[1].entries.shift(), "tag_index", "row group 1"],
  [
    "minimum of a tag",
    (p) => (entryOf(p.rowGroupTags[1], "span.code").min = "201"),
    "tag_index",
    "key span.code",
  ],
  ["key of the block", (p) => p.tags.entries.shift(), "tag_index", "tag index of the block"],
  [
    "value of the block",
    (p) => valuesOf(p.tags, "span.order").pop(),
    "tag_index",
    "tag index of the block, key span.order",
  ],
  [
    "rows of the block",
    (p) => entryOf(p.tags, "span.order").rows--,
    "tag_index",
    "tag index of the block, key span.order",
  ],
  ["order of row groups", swapRowGroups, "times", "row group 0"],
  ["rows in the footer", (p) => setInt64(p.footer, 3, 7), "footer", "Parquet footer"],
  [
    "place of a chunk",
    (p) => {
      const chunk = structList(structList(p.footer, 4)[0], 1)[3];
      setInt64(structField(chunk, 3), 7, 11);
    },
    "layout",
    "column",
  ],
];

function entryOf(tags: BlockParts["tags"], key: string): BlockParts["tags"]["entries"][number] {
  return tags.entries.find((entry) => entry.key === key)!;
}

function valuesOf(tags: BlockParts["tags"], key: string): [string, number][] {
  return entryOf(tags, key).values;
}

function clearBit({ blooms }: BlockParts): void {
  const at = blooms[0].findIndex((byte) => byte !== 0);
  blooms[0][at] &= blooms[0][at] - 1;
}

/** Swaps the first two row groups of the footer; both have 8 rows. */
function swapRowGroups({ footer }: BlockParts): void {
  const [first, second, ...others] = structList(footer, 4);
  setStructList(footer, 4, [second, first, ...others]);
}

const rewrites: [string, (columns: Map<string, Column>) => void, FindingCause, string][] = [
  ["nested set", (c) => withInt(c, "nested_left", 5, 3), "tree", "column nested_left"],
  ["child count", (c) => withInt(c, "child_count", 6, 9), "tree", "column child_count"],
  ["missing column", (c) => c.delete("nested_right"), "schema", "column nested_right"],
  ["missing list", (c) => c.delete("event_name"), "schema", "column event_name"],
  [
    "type of a column",
    (c) => c.set("span.cached", c.get("span.code:int")!),
    "schema",
    "column span.cached",
  ],
  [
    "root name",
    (c) => {
      const name = c.get("root_name")!;
      if (name.kind === "dict") c.set("root_name", { ...name, codes: name.codes.with(1, -1) });
    },
    "tree",
    "column root_name",
  ],
  [
    "order of spans",
    (c) => {
      const start = c.get("start_unix_nano")!;
      if (start.kind !== "int64") return;
      c.set("start_unix_nano", { ...start, values: start.values.with(1, 2n ** 62n) });
    },
    "order",
    "row group 0",
  ],
  [
    "form of event attributes",
    (c) => {
      const events = c.get("event_attributes")!;
      if (events.kind !== "list" || events.child.kind !== "dict") return;
      const { dictionary } = events.child;
      const bytes = Uint8Array.from(dictionary.bytes);
      bytes[0] = 0x3f;
      const child = { ...events.child, dictionary: { ...dictionary, bytes } };
      c.set("event_attributes", { ...events, child });
    },
    "value",
    "column event_attributes",
  ],
];

function expectFinding(findings: Finding[], cause: FindingCause, place: string): void {
  const causes = findings.filter((finding) => finding.cause === cause);
  expect(causes.map((finding) => finding.place).join("; ")).toContain(place);
}

describe("damage", () => {
  it("starts from a block without findings", async () => {
    expect(await verify(block.bytes, commitOf(block))).toEqual([]);
    expect(await verify(single.bytes, commitOf(single))).toEqual([]);
    expect(await verify(changed(() => {}))).toEqual([]);
    expect(await verify(await rewritten(() => {}))).toEqual([]);
  });

  it.each(flips)("finds a flipped bit in the %s", async (_what, at, cause, place) => {
    expectFinding(await verify(flipped(at)), cause, place);
  });

  it("checks sound row groups when another one is damaged", async () => {
    const fresh = takeApart(flipped(chunkOf("span_id").dataStart + 20));
    fresh.directory.rowGroups[4].maxEndNano = "1";
    const broken = putTogether(fresh);
    // Restores the checksum of the flipped page.
    const again = takeApart(broken);
    again.body.set(parts.body.subarray(0, chunkOf("span_id").dataStart + 21));
    const findings = await verify(Buffer.concat([again.body, broken.subarray(again.body.length)]));
    expect(findings.map(({ cause }) => cause)).toEqual(["checksum", "times"]);
  });

  it.each(changes)("finds what is wrong: %s", async (_what, change, cause, place) => {
    expectFinding(await verify(changed(change)), cause, place);
  });

  it.each(rewrites)("finds what is wrong in rows: %s", async (_what, change, cause, place) => {
    expectFinding(await verify(await rewritten(change)), cause, place);
  });

  it("finds truncation and appended bytes", async () => {
    const file = commitOf(block);
    for (const cut of [1, 8, 100, size - 50, size - 4, size]) {
      const findings = await verify(block.bytes.subarray(0, size - cut), file);
      expectFinding(findings, "size", "file");
    }
    expectFinding(await verify(block.bytes.subarray(0, size - 1)), "magic", "end of file");
    const longer = Buffer.concat([block.bytes, Buffer.from("x")]);
    expectFinding(await verify(longer), "magic", "end of file");
    const disguised = Buffer.concat([block.bytes, block.bytes.subarray(-8)]);
    expectFinding(await verify(disguised, file), "size", "file");
    expectFinding(await verify(disguised), "trailer", "index trailer");
  });

  it("finds bytes that belong to no part", async () => {
    const { sectionOffset } = { sectionOffset: parts.body.length };
    const fresh = takeApart(block.bytes);
    fresh.body = Buffer.concat([fresh.body.subarray(0, sectionOffset), Buffer.from("gap!")]);
    fresh.segments.push({ sizeBytes: 4, crc: 0 });
    expectFinding(await verify(putTogether(fresh)), "layout", `bytes ${sectionOffset} to`);
  });

  it("finds a commit that contradicts the block", async () => {
    const file = commitOf(block);
    const wrong: [string, string, string][] = [
      ["spoor.partition", "1/2", "partition"],
      ["spoor.traces", "3", "traces"],
      ["spoor.index", "4,5", "tags"],
      ["spoor.index", `${block.indexOffset},${block.footerOffset + 1}`, "footer offset"],
      ["spoor.bloom", file.tags["spoor.bloom"].replace(/\d$/, "x"), "tags"],
      ["spoor.row_groups", "1,1,1,1,1", "row groups"],
      ["spoor.trace_starts", "1;2", "row group 0"],
      ["spoor.trace_starts", "x", "tags"],
    ];
    for (const [tag, value, place] of wrong) {
      const changedFile = { ...file, tags: { ...file.tags, [tag]: value } };
      expectFinding(await verify(block.bytes, changedFile), "commit", place);
    }
    const stats = { ...file.stats, min: { start_unix_nano: 3n } };
    expectFinding(await verify(block.bytes, { ...file, stats }), "commit", "earliest start");
  });

  it("survives the Parquet reader on damaged pages with valid checksums", async () => {
    const body = parts.body.length;
    const causes = new Map<string, number>();
    for (let i = 0; i < 20; i++) {
      const bytes = changed((fresh) => {
        fresh.body[4 + ((i * 7919 * 31) % (body - 4))] ^= 1 << (i % 8);
      });
      for (const { cause, message } of await verify(bytes)) {
        const kind = message.includes("panicked") ? "panic" : cause;
        causes.set(kind, (causes.get(kind) ?? 0) + 1);
      }
    }
    expect(causes.get("panic")).toBeGreaterThan(0);
    expect(await verify(block.bytes)).toEqual([]);
  });
});
