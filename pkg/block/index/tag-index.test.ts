import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { batchOf, type Column, type ColumnBatch } from "#pkg/columns/column-batch.ts";
import { DictBuilder } from "#pkg/columns/dict-builder.ts";
import { formatAttributesJson } from "#pkg/otlp/json-encode.ts";
import type { KeyValue } from "#pkg/otlp/trace-data.ts";
import { Findings } from "#pkg/block/verify/findings.ts";
import { buildTagIndex } from "./tag-build.ts";
import { mergeTagIndexes, type TagEntry, type TagIndex, type TagType } from "./tag-index.ts";
import { TagValues } from "./tag-values.ts";
import { countInts, topCounts, wordsOf } from "./value-counts.ts";
import { checkMergedTags, checkTags } from "#pkg/block/verify/verify-tags.ts";

/** Returns whether a row group with this index can hold `key` = `text` of this type. */
function mayHoldValue(index: TagIndex, key: string, type: TagType, text: string): boolean {
  const entry = index.entries.find((e) => e.key === key && e.type === type);
  return entry === undefined ? index.truncated : new TagValues(entry).mayHold(text);
}

function strings(values: readonly (string | null)[]): Column {
  const builder = new DictBuilder();
  return builder.column(Int32Array.from(values, (v) => (v === null ? -1 : builder.code(v))));
}

function longs(values: readonly (bigint | null)[]): Column {
  const valid = new Uint8Array((values.length + 7) >> 3);
  values.forEach((value, i) => (valid[i >> 3] |= value === null ? 0 : 1 << (i & 7)));
  return { kind: "int64", values: BigInt64Array.from(values, (v) => v ?? 0n), valid };
}

function doubles(values: readonly number[]): Column {
  return { kind: "double", values: Float64Array.from(values), valid: undefined };
}

/** Each row's list of (key, value) in the rest columns of spans. */
function rest(rows: readonly (readonly [string, string])[][]): [string, Column][] {
  const offsets = new Int32Array(rows.length + 1);
  rows.forEach((row, i) => (offsets[i + 1] = offsets[i] + row.length));
  const list = (pick: 0 | 1): Column => ({
    kind: "list",
    offsets,
    child: strings(rows.flat().map((pair) => pair[pick])) as Extract<Column, { kind: "dict" }>,
  });
  return [
    ["span_rest_key", list(0)],
    ["span_rest_value", list(1)],
  ];
}

function indexOf(batch: ColumnBatch, bloomBytesMax = 1e9): TagIndex {
  const index = buildTagIndex(batch, bloomBytesMax);
  const findings = new Findings();
  checkTags(batch, index, "test", findings);
  expect(findings.list()).toEqual([]);
  return index;
}

function entryOf(index: TagIndex, key: string): TagEntry {
  return index.entries.find((entry) => entry.key === key)!;
}

const rows = 5000;
const numbers = Array.from({ length: rows }, (_, i) => i);

it("accepts 200,000 distinct keys of one request and lists the most frequent", () => {
  // More than a call takes as arguments.
  const keyCount = 200_000;
  const pairs = Array.from({ length: keyCount }, (_, i): [string, string] => [`key.${i}`, "sv"]);
  const columns = new Map(rest([[...pairs, ["often", "sv"]], [["often", "sv"]]]));
  const index = buildTagIndex(batchOf(2, columns), 1e9);
  expect(index.truncated).toBe(true);
  expect(index.entries[0]).toMatchObject({ key: "span.often", rows: 2, values: [["v", 2]] });
});

describe("tag index", () => {
  const batch = batchOf(
    rows,
    new Map<string, Column>([
      ["span.method", strings(numbers.map((i) => (i % 3 === 0 ? null : `M${i % 5}`)))],
      ["span.order", strings(numbers.map((i) => `order-${i}`))],
      ["span.mixed", strings(numbers.map((i) => (i < 3000 ? `rare-${i}` : `often-${i % 7}`)))],
      ["span.long", strings(numbers.map((i) => "x".repeat(2000) + String(i % 3)))],
      ["span.id:int", longs(numbers.map((i) => BigInt(i) * 2n ** 50n - 2n ** 61n))],
      ["span.code:int", longs(numbers.map((i) => (i % 2 === 0 ? BigInt(i % 4) - 2n : null)))],
      ["span.ratio:double", doubles(numbers.map((i) => i / 7))],
      ["span.few:double", doubles(numbers.map((i) => [0, -0, Number.NaN, 1.5, -1e300][i % 5]))],
      ["duration_nano", longs(numbers.map((i) => BigInt(i % 3) - 1n))],
      ["span_id", longs(numbers.map(BigInt))],
      ...rest(
        numbers.map((i) => [
          ["order", i % 2 === 0 ? `i${i}` : `s${i}`],
          ["again", "sfirst"],
          ["again", `slast-${i % 2}`],
          ["odd key", i % 2 === 0 ? "b1" : 'j{"arrayValue":{}}'],
          ["ratio", i % 2 === 0 ? "d-0" : "d0"],
        ]),
      ),
    ]),
  );
  const index = indexOf(batch);

  it("lists a few values completely with exact counts, most frequent first", () => {
    const method = entryOf(index, "span.method");
    expect(method).toMatchObject({ type: "string", truncated: false, rows: 3333 });
    expect(method.values.map(([text]) => text).sort()).toEqual(["M0", "M1", "M2", "M3", "M4"]);
    const code = entryOf(index, "span.code");
    expect(code).toMatchObject({ min: "-2", max: "0", rows: 2500, truncated: false });
    expect(code.values).toEqual([
      ["-2", 1250],
      ["0", 1250],
    ]);
    const few = entryOf(index, "span.few");
    expect(few).toMatchObject({ type: "double", min: "-1e+300", max: "1.5", truncated: false });
    expect(few.values.map(([text]) => text).sort()).toEqual(["-1e+300", "0", "1.5", "NaN"]);
    expect(entryOf(index, "duration_nano")).toMatchObject({ min: "-1", max: "1", values: [] });
    expect(index.entries.some(({ key }) => key === "span_id")).toBe(false);
  });

  it("has the last value of a key that a span has twice, and no other", () => {
    const again = entryOf(index, "span.again");
    expect(again).toMatchObject({ rows, truncated: false });
    expect(new Map(again.values)).toEqual(
      new Map([
        ["last-0", rows / 2],
        ["last-1", rows / 2],
      ]),
    );
  });

  it("has a filter and a few examples of many values", () => {
    // This key has strings in a column and in the rest lists: one filter covers both.
    const order = index.entries.filter(({ key }) => key === "span.order");
    expect(order.map(({ type, rows: count }) => [type, count])).toEqual([
      ["string", 7500],
      ["int64", 2500],
    ]);
    for (const { bloom, values } of order) {
      expect(bloom).toBeDefined();
      expect(values.length).toBeLessThanOrEqual(40);
    }
    expect(mayHoldValue(index, "span.order", "string", "order-9999")).toBe(false);
    const mixed = entryOf(index, "span.mixed");
    expect(mixed.values.slice(0, 7).every(([text]) => text.startsWith("often-"))).toBe(true);
    expect(mixed.values.length).toBe(20);
    const id = entryOf(index, "span.id");
    expect(id).toMatchObject({ truncated: true, min: String(-(2n ** 61n)) });
    let found = 0;
    for (let i = 0; i < 10_000; i++)
      if (mayHoldValue(index, "span.id", "int64", `${i + 7}`)) found++;
    expect(found / 10_000).toBeLessThan(0.02);
    expect(mayHoldValue(index, "span.mixed", "string", "rare-2999")).toBe(true);
    expect(entryOf(index, "span.long")).toMatchObject({ values: [], truncated: true });
    expect(mayHoldValue(index, "span.long", "string", "x")).toBe(false);
  });

  it("rules out keys and types that are not present", () => {
    expect(mayHoldValue(index, "span.method", "string", "M7")).toBe(false);
    expect(mayHoldValue(index, "span.method", "int64", "1")).toBe(false);
    expect(mayHoldValue(index, "span.nothing", "string", "")).toBe(false);
    expect(mayHoldValue({ ...index, truncated: true }, "span.nothing", "string", "")).toBe(true);
    expect(entryOf(index, "span.odd key")).toBeDefined();
    expect(mayHoldValue(index, "span.odd key", "bool", "false")).toBe(false);
    expect(mayHoldValue(index, "span.odd key", "other", "anything")).toBe(true);
  });

  it("keeps filters within their budget: less exact, or none, but never wrong", () => {
    const sizeOf = (tags: TagIndex): number =>
      tags.entries.reduce((sum, { bloom }) => {
        return (
          sum + (bloom === undefined ? 0 : (bloom.shape.shards * bloom.shape.bitsPerShard) / 8)
        );
      }, 0);
    expect(sizeOf(index)).toBeGreaterThan(20_000);
    for (const room of [0, 1000, 4000, 8000, 15_000, 25_000]) {
      const tight = indexOf(batch, room);
      expect(sizeOf(tight)).toBeLessThanOrEqual(room * 1.03 + 16);
    }
    expect(indexOf(batch, 3000).entries.some(({ bloom }) => bloom !== undefined)).toBe(true);
  });

  it("has no more keys and text than its limits", () => {
    const many = rest([
      Array.from({ length: 6000 }, (_, i) => [`key-${i}`, "b1"] as const),
      [["key-5999", "b0"]],
    ]);
    const tags = indexOf(batchOf(2, new Map(many)));
    expect(tags.entries.length).toBe(5000);
    expect(tags.truncated).toBe(true);
    expect(tags.entries[0]).toMatchObject({ key: "span.key-5999", rows: 2 });
    expect(mayHoldValue(tags, "span.key-9999", "bool", "true")).toBe(true);
    const wide = Array.from({ length: 400 }, (_, key) =>
      Array.from({ length: 24 }, (_, i) => [`k${key}`, `s${"v".repeat(950)}${i}`] as const),
    );
    const large = indexOf(batchOf(400, new Map(rest(wide))));
    expect(Buffer.byteLength(JSON.stringify(large))).toBeLessThan(6 * 1024 * 1024);
    expect(large.truncated).toBe(false);
  });

  it("merges into one that covers all parts", () => {
    const other = indexOf(
      batchOf(
        3,
        new Map<string, Column>([
          ["span.method", strings(["M9", "M1", null])],
          ["span.code:int", longs([99n, null, -7n])],
          ["span.new", strings(["a", "a", "b"])],
        ]),
      ),
    );
    const merged = mergeTagIndexes([index, other, index]);
    const findings = new Findings();
    checkMergedTags(merged, [index, other, index], findings);
    expect(findings.list()).toEqual([]);
    expect(entryOf(merged, "span.method").rows).toBe(6668);
    expect(entryOf(merged, "span.code")).toMatchObject({ min: "-7", max: "99", truncated: false });
    expect(merged.entries.some(({ bloom }) => bloom !== undefined)).toBe(false);
    expect(mayHoldValue(merged, "span.order", "string", "order-4999")).toBe(true);
    checkMergedTags(index, [index, other], findings);
    expect(findings.list().map(({ place }) => place)).toContain("tag index of the block");
  });
});

/** The attributes of each row's events (or links), in the block's text form. */
function lists(column: string, rows: readonly KeyValue[][][]): [string, Column] {
  const offsets = new Int32Array(rows.length + 1);
  rows.forEach((row, i) => (offsets[i + 1] = offsets[i] + row.length));
  const child = strings(rows.flat().map((list) => formatAttributesJson(list)));
  return [column, { kind: "list", offsets, child: child as Extract<Column, { kind: "dict" }> }];
}

describe("attributes of events and links", () => {
  const text = (key: string, value: string): KeyValue => ({
    key,
    value: { kind: "string", value },
  });
  const odd: KeyValue[] = [
    { key: "n", value: { kind: "int", value: -(2n ** 63n) } },
    { key: "n", value: { kind: "int", value: 7n } },
    { key: "d", value: { kind: "double", value: -0 } },
    { key: "d", value: { kind: "double", value: Number.NaN } },
    { key: "b", value: { kind: "bool", value: false } },
    { key: "", value: { kind: "empty" } },
    { key: "o", value: { kind: "array", values: [{ kind: "string", value: "x" }] } },
  ];

  it("are counted per event and per link", () => {
    const boom = [text("type", "Boom"), text('odd "key"', "\u00e9\n")];
    const batch = batchOf(
      3,
      new Map([
        lists("event_attributes", [[boom, boom, []], [], [boom, odd]]),
        lists("link_attributes", [[], [[text("why", "retry")]], []]),
      ]),
    );
    const index = indexOf(batch);
    expect(index.covers).toEqual(["event", "link"]);
    const said = index.entries.map(({ key, type, rows: count, values, min, max }) => [
      key,
      type,
      count,
      values.map(([value, times]) => `${value}*${times}`).join(" "),
      min === undefined ? "" : `${min}..${max}`,
    ]);
    expect(new Set(said)).toEqual(
      new Set([
        ["event.", "other", 1, "", ""],
        ["event.b", "bool", 1, "false*1", ""],
        // If a key occurs twice, its last value counts.
        ["event.d", "double", 1, "NaN*1", ""],
        ["event.n", "int64", 1, "7*1", "7..7"],
        ['event.odd "key"', "string", 3, "\u00e9\n*3", ""],
        ["event.o", "other", 1, "", ""],
        ["event.type", "string", 3, "Boom*3", ""],
        ["link.why", "string", 1, "retry*1", ""],
      ]),
    );
  });

  it("have a filter where there are many values", () => {
    const events = numbers.map((i) => [[text("id", `e-${i}`)]]);
    const index = indexOf(batchOf(rows, new Map([lists("event_attributes", events)])));
    expect(mayHoldValue(index, "event.id", "string", "e-4999")).toBe(true);
    expect(mayHoldValue(index, "event.id", "string", "e-5000")).toBe(false);
  });

  it("are not covered if a text cannot be parsed", () => {
    for (const wrong of ["?", "{}", "[1]", '[{"key":1,"value":{}}]', '[{"key":"a"}]']) {
      const child = strings([wrong]) as Extract<Column, { kind: "dict" }>;
      const offsets = Int32Array.of(0, 1);
      const columns = new Map<string, Column>([
        ["event_attributes", { kind: "list", offsets, child }],
      ]);
      expect(indexOf(batchOf(1, columns)).covers, wrong).toEqual(["link"]);
    }
  });

  it("are covered by a merged index only if all parts cover them", () => {
    const whole = indexOf(batchOf(1, new Map([lists("link_attributes", [[odd]])])));
    const old: TagIndex = { ...whole, covers: [] };
    expect(mergeTagIndexes([whole, whole]).covers).toEqual(["event", "link"]);
    expect(mergeTagIndexes([whole, old]).covers).toEqual([]);
    const findings = new Findings();
    checkMergedTags(mergeTagIndexes([whole, whole]), [whole, old], findings);
    expect(findings.list().map(({ message }) => message)).toEqual([
      "it claims to have all keys of events, a row group's index does not (and 1 more)",
    ]);
  });
});

describe("value counts", () => {
  const i64 = fc.oneof(
    fc.bigInt({ min: -3n, max: 3n }),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.constantFrom(2n ** 32n, 2n ** 53n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)),
  );

  it("equal the counts of a map", () => {
    fc.assert(
      fc.property(fc.array(fc.option(i64), { maxLength: 200 }), (values) => {
        const column = longs(values) as Extract<Column, { kind: "int64" }>;
        const counts = countInts(wordsOf(column.values), column.valid, values.length);
        const expected = new Map<bigint, number>();
        for (const value of values) {
          if (value !== null) expected.set(value, (expected.get(value) ?? 0) + 1);
        }
        const found = new Map<bigint, number>();
        for (let i = 0; i < counts.length; i++) {
          const value = (BigInt(counts.high[i]) << 32n) | BigInt(counts.low[i] >>> 0);
          found.set(value, counts.counts[i]);
        }
        expect(found).toEqual(expected);
        expect(counts.rows).toBe(values.filter((value) => value !== null).length);
      }),
    );
  });

  it("of many values are found again", () => {
    const words = Int32Array.from({ length: 40_000 }, (_, i) => Math.imul(i >> 1, 2654435761));
    const counts = countInts(words, undefined, 20_000);
    const twice = countInts(Int32Array.from([...words, ...words]), undefined, 40_000);
    expect(twice.length).toBe(counts.length);
    expect(twice.counts.subarray(0, twice.length).every((count) => count % 2 === 0)).toBe(true);
  });

  it("are ranked correctly by topCounts", () => {
    const arrays = fc.array(fc.nat({ max: 6 }), { maxLength: 60 });
    fc.assert(
      fc.property(arrays, fc.integer({ min: 1, max: 20 }), (list, most) => {
        const counts = Uint32Array.from(list);
        const found = topCounts(counts, counts.length, most).map((i) => counts[i]);
        const expected = list.filter((count) => count > 0).sort((a, b) => b - a);
        expect(found.sort((a, b) => b - a)).toEqual(expected.slice(0, most));
      }),
    );
  });
});
