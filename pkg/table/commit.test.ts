import * as fc from "fast-check";
import { expect, test } from "vitest";
import { hasCode } from "#pkg/errors/errors.ts";
import { type Commit, type CommitInfo, decodeCommit, decodePath } from "./commit.ts";
import { commitBytesMax, encodeCommit, encodePath } from "./commit.ts";
import { newMetaData } from "./metadata.ts";
import { decodeStats, encodeStats } from "./stats.ts";
import type { BlockFile, StatValue } from "./table-model.ts";
import { blockOf, coreColumns, nowMs } from "./table.testing.ts";

const info: CommitInfo = { timestampMs: nowMs, operation: "WRITE", dataChange: true };
const text = fc.string({ unit: "binary" });
const uint = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const int64 = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(-(2n ** 63n), 2n ** 63n - 1n, 0n, 2n ** 53n + 1n),
);
const double = fc.double({ noNaN: true, noDefaultInfinity: true });
const statValue: fc.Arbitrary<StatValue> = fc.oneof(int64, double, text, fc.boolean());
const oddName = fc.oneof(text, fc.constantFrom("__proto__", "constructor", "toString", ""));
const dictionaryOf = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<Record<string, T>> =>
  fc
    .uniqueArray(fc.tuple(oddName, value), { selector: ([name]) => name, maxLength: 4 })
    .map((entries) => Object.fromEntries(entries));
const segment = fc
  .string({ unit: "binary", minLength: 1, maxLength: 20 })
  .map((name) => name.replaceAll(/[/\0]/gu, "%"))
  .filter((name) => name !== "." && name !== ".." && name !== ".tmp");
const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
const file: fc.Arbitrary<BlockFile> = fc.record({
  path,
  sizeBytes: uint,
  modifiedMs: uint,
  stats: fc.record({ rows: uint, min: dictionaryOf(statValue), max: dictionaryOf(statValue) }),
  tags: dictionaryOf(text),
});
const column = fc.record({
  name: fc.stringMatching(/^[A-Za-z0-9_./:-]{1,20}$/u),
  type: fc.constantFrom("long", "string", "array<long>", "array<array<double>>"),
});
const commit: fc.Arbitrary<Commit> = fc
  .record({
    id: fc.uuid(),
    hasProtocol: fc.boolean(),
    metaData: fc.option(
      fc
        .uniqueArray(column, { selector: ({ name }) => name, maxLength: 5 })
        .map((columns) => newMetaData("an id", nowMs, fieldsOf(columns))),
      { nil: undefined },
    ),
    files: fc.uniqueArray(file, { selector: ({ path }) => path, maxLength: 6 }),
    split: fc.nat({ max: 6 }),
    transactions: dictionaryOf(uint),
  })
  .map(({ files, split, transactions, ...rest }) => ({
    ...rest,
    add: files.slice(split),
    remove: files.slice(0, split).map(({ path, modifiedMs, sizeBytes }) => ({
      path,
      deletedMs: modifiedMs,
      sizeBytes,
    })),
    transactions: new Map(Object.entries(transactions)),
  }));

function fieldsOf(
  columns: readonly { name: string; type: string }[],
): Parameters<typeof newMetaData>[2] {
  const json = (type: string): unknown =>
    type.startsWith("array<")
      ? { type: "array", elementType: json(type.slice(6, -1)), containsNull: true }
      : type;
  return columns.map(({ name, type }) => ({
    name,
    type,
    json: { name, type: json(type), nullable: true, metadata: {} },
  }));
}

function plain(decoded: Commit): Commit {
  const { id, hasProtocol, metaData, add, remove, transactions } = decoded;
  return { id, hasProtocol, metaData, add, remove, transactions };
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function decodeText(text: string): Commit {
  return decodeCommit(new TextEncoder().encode(text), "t/_delta_log/7.json");
}

test("a commit round-trips, with odd names and 64-bit extremes", () => {
  fc.assert(
    fc.property(commit, (original) => {
      const decoded = decodeCommit(encodeCommit(original, info), "k");
      expect(plain(decoded)).toEqual(original);
    }),
    { numRuns: 500 },
  );
});

test("every line is standard JSON", () => {
  fc.assert(
    fc.property(commit, (original) => {
      const lines = textOf(encodeCommit(original, info)).trimEnd().split("\n");
      for (const line of lines) expect(Object.keys(JSON.parse(line) as object)).toHaveLength(1);
    }),
  );
});

test("64-bit statistics are raw integers, doubles never look like integers", () => {
  const stats = {
    rows: 1,
    min: { long: -9_223_372_036_854_775_808n, double: 3, negativeZero: -0, tiny: 5e-324 },
    max: { long: 9_223_372_036_854_775_807n, double: 1e21, big: 1e20, flag: true },
  };
  const encoded = encodeStats(stats);
  expect(encoded).toBe(
    '{"numRecords":1,' +
      '"minValues":{"long":-9223372036854775808,"double":3.0,"negativeZero":-0.0,"tiny":5e-324},' +
      '"maxValues":{"long":9223372036854775807,"double":1e+21,"big":100000000000000000000.0,' +
      '"flag":true},"nullCount":{}}',
  );
  expect(decodeStats(encoded, "here")).toEqual(stats);
});

test("statistics that JSON or 64 bits cannot hold are refused", () => {
  const bad = [Number.NaN, Infinity, 2n ** 63n, -(2n ** 63n) - 1n, "\ud800", "x".repeat(70_000)];
  for (const value of bad) {
    const encode = (): string => encodeStats({ rows: 1, min: { c: value }, max: {} });
    expect(encode).toThrow(expect.objectContaining({ code: "InvalidInput" }));
  }
});

test("paths: percent-encoded in the log, plain outside", () => {
  fc.assert(
    fc.property(path, (original) => {
      const encoded = encodePath(original);
      expect(encoded).toMatch(/^[A-Za-z0-9\-_.!~*'()%/]+$/u);
      expect(decodePath(encoded, "here")).toBe(original);
    }),
    { numRuns: 500 },
  );
  expect(encodePath("a b/ü%41/c:d")).toBe("a%20b/%C3%BC%2541/c%3Ad");
});

const original: Commit = {
  id: "0d5c1c5e-0000-4000-8000-000000000000",
  hasProtocol: true,
  metaData: newMetaData("id", nowMs, fieldsOf(coreColumns)),
  add: [blockOf("one"), blockOf("two ü")],
  remove: [{ path: "blocks/old", deletedMs: nowMs, sizeBytes: 5 }],
  transactions: new Map([["log/4/0", 17]]),
};
const bytes = encodeCommit(original, info);

test("truncation at every byte is Corrupt, apart from the last newline", () => {
  for (let end = 0; end < bytes.length - 1; end++) {
    const thrown = corruptOf(() => decodeCommit(bytes.subarray(0, end), "t/log/7.json"));
    expect(thrown, `${end} bytes`).toContain("t/log/7.json");
  }
  expect(plain(decodeCommit(bytes.subarray(0, -1), "k"))).toEqual(original);
});

test("flipped bits are Corrupt or another well-formed commit, never another error", () => {
  fc.assert(
    fc.property(fc.nat({ max: bytes.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, bits) => {
      const broken = bytes.slice();
      broken[at] ^= bits;
      decodeOrCorrupt(broken);
    }),
    { numRuns: 3000 },
  );
});

test("random bytes and random JSON are Corrupt or a commit", () => {
  const json = fc.json().map((line) => new TextEncoder().encode(line));
  const action = fc
    .tuple(
      fc.constantFrom("add", "remove", "txn", "metaData", "protocol", "commitInfo", "cdc"),
      fc.dictionary(
        fc.constantFrom("path", "size", "stats", "tags", "appId", "version", "schemaString"),
        fc.jsonValue(),
      ),
    )
    .map(([name, value]) => new TextEncoder().encode(JSON.stringify({ [name]: value })));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), json, action), decodeOrCorrupt),
    { numRuns: 3000 },
  );
});

const add = '"partitionValues":{},"size":1,"modificationTime":2,"dataChange":true';
const stats = '"stats":"{\\"numRecords\\":1}"';
const goodAdd = `{"add":{"path":"p",${add},${stats}}}`;
const cases: [string, string, RegExp][] = [
  ["no bytes", "", /it is empty/u],
  ["blank lines", "\n \n", /it is empty/u],
  ["no JSON", `${goodAdd}\n{"add":`, /line 2: it is not JSON/u],
  ["no object", "[]", /line 1: it is not a JSON object/u],
  ["an action that is no object", '{"add":[]}', /add is not an object/u],
  ["add without path", `{"add":{${add},${stats}}}`, /path is not a string/u],
  ["add without size", `{"add":{"path":"p","modificationTime":1,${stats}}}`, /size is not/u],
  ["add without stats", `{"add":{"path":"p",${add}}}`, /stats is not a string/u],
  ["negative size", '{"add":{"path":"p","size":-1}}', /size is not a whole number/u],
  ["size over 2^53", '{"add":{"path":"p","size":9007199254740993}}', /size is not a whole/u],
  ["stats no JSON", `{"add":{"path":"p",${add},"stats":"{"}}`, /stats is not JSON/u],
  ["stats no object", `{"add":{"path":"p",${add},"stats":"3"}}`, /stats is not a JSON obj/u],
  ["no numRecords", `{"add":{"path":"p",${add},"stats":"{}"}}`, /numRecords is not/u],
  ["tags no strings", `{"add":{"path":"p",${add},${stats},"tags":{"a":1}}}`, /tags\.a is not/u],
  ["path up", goodAdd.replace('"p"', '"../p"'), /\.\. segment/u],
  ["path up, encoded", goodAdd.replace('"p"', '"a/%2E%2E/p"'), /\.\. segment/u],
  ["absolute path", goodAdd.replace('"p"', '"/p"'), /empty segment/u],
  ["path elsewhere", goodAdd.replace('"p"', '"s3://bucket/p"'), /outside the table/u],
  ["path half encoded", goodAdd.replace('"p"', '"a%2"'), /not percent-encoded/u],
  ["path twice", `${goodAdd}\n${goodAdd}`, /line 2: it has path p a second time/u],
  ["remove without time", '{"remove":{"path":"p"}}', /deletionTimestamp is not/u],
  ["txn without version", '{"txn":{"appId":"a"}}', /version is not/u],
  [
    "txn twice",
    '{"txn":{"appId":"a","version":1}}\n{"txn":{"appId":"a","version":2}}',
    /line 2: it has txn of a a second time/u,
  ],
  ["lost lines", '{"commitInfo":{"spoor.lines":3}}', /it has 1 lines, expected 3/u],
  ["metaData without schema", '{"metaData":{"id":"x"}}', /schemaString is not a string/u],
  ["too many lines", "{}\n".repeat(200_001), /over 200000 lines/u],
];
test.each(cases)("%s", (_name, broken, message) => {
  expect(corruptOf(() => decodeText(broken))).toMatch(message);
});

test("bytes that are not UTF-8 name their line", () => {
  const broken = Buffer.concat([Buffer.from("{}\n{}\n"), Buffer.from([0xff]), Buffer.from("\n")]);
  expect(corruptOf(() => decodeCommit(broken, "k"))).toBe("read commit k line 3: it is not UTF-8");
  const withMark = Buffer.from(`\ufeff${goodAdd}`);
  expect(corruptOf(() => decodeCommit(withMark, "k"))).toMatch(/line 1: it is not JSON/u);
});

test("too large, and nested too deep", () => {
  const large = Buffer.alloc(commitBytesMax + 1, " ");
  expect(corruptOf(() => decodeCommit(large, "k"))).toMatch(/bytes exceed 16777216/u);
  const deep = "[".repeat(30_000) + "]".repeat(30_000);
  const deepStats = goodAdd.replace(stats, `"stats":${JSON.stringify(`{"a":${deep}}`)}`);
  decodeOrCorrupt(Buffer.from(deepStats));
  const veryDeep = "[".repeat(2_000_000) + "]".repeat(2_000_000);
  decodeOrCorrupt(Buffer.from(`{"metaData":{"schemaString":"{}","x":${veryDeep}}}`));
});

test("content of other engines is accepted: unknown actions and fields, nulls, CRLF", () => {
  const decoded = decodeText(
    [
      '{"commitInfo":{"timestamp":1,"new":{}}}',
      '{"cdc":{"path":"c"},"add":null}',
      '{"someday":[1,2]}',
      `{"add":{"path":"a%20b",${add},"stats":${JSON.stringify(
        '{"numRecords":2,"minValues":{"s":{"nested":1},"n":null,"i":1,"d":1.5},"nullCount":{}}',
      )},"tags":{"x":null,"y":"1"},"deletionVector":null,"baseRowId":4}}`,
      '{"remove":{"path":"old","deletionTimestamp":5,"dataChange":true}}',
    ].join("\r\n"),
  );
  expect(decoded.add).toEqual([
    {
      path: "a b",
      sizeBytes: 1,
      modifiedMs: 2,
      stats: { rows: 2, min: { i: 1n, d: 1.5 }, max: {} },
      tags: { y: "1" },
    },
  ]);
  expect(decoded.remove).toEqual([{ path: "old", deletedMs: 5, sizeBytes: undefined }]);
  expect(decoded.id).toBeUndefined();
});

function decodeOrCorrupt(bytes: Uint8Array): void {
  try {
    decodeCommit(bytes, "k");
  } catch (error) {
    if (!hasCode(error, "Corrupt")) throw error;
  }
}

function corruptOf(decode: () => unknown): string {
  try {
    decode();
  } catch (error) {
    if (hasCode(error, "Corrupt")) return error.message;
    throw error;
  }
  return "decoded without an error";
}

/** A commit with a block of partition 0/4, an offset and a removed block. */
function smallCommit(): Uint8Array {
  const add = [{ ...blockOf("a"), tags: { "spoor.partition": "0/4", "spoor.traces": "26" } }];
  const remove = [{ path: "blocks/gone.parquet", deletedMs: nowMs, sizeBytes: 7 }];
  const transactions = new Map([["log/4/0", 250]]);
  const facts = { id: "an id", hasProtocol: false, metaData: undefined };
  return encodeCommit({ ...facts, add, remove, transactions }, info);
}

test("any flipped bit of a commit is detected or has no effect", () => {
  const bytes = smallCommit();
  // The id is not compared: its writer compares whole commits by their bytes.
  const original = { ...plain(decodeCommit(bytes, "k")), id: "" };
  const noticed = flips(bytes, (flipped) => decodeCommit(flipped, "k"), original);
  expect(noticed).toBeGreaterThan(bytes.length * 7);
  const moved = textOf(bytes).replace('"0/4"', '"1/4"');
  expect(() => decodeText(moved)).toThrow("its checksum does not match");
});

test("a commit without a checksum, as older versions wrote it, is read", () => {
  const old = textOf(smallCommit()).replace(/,"spoor\.crc32":\d+/u, "");
  expect(old).not.toContain("crc32");
  expect(plain(decodeText(old))).toEqual(plain(decodeCommit(smallCommit(), "k")));
});

/** Returns the number of flips that are Corrupt; all others must decode to the same commit. */
function flips(bytes: Uint8Array, decode: (bytes: Uint8Array) => Commit, original: Commit): number {
  let noticed = 0;
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Uint8Array.from(bytes);
    flipped[bit >> 3] ^= 1 << (bit & 7);
    try {
      expect({ ...plain(decode(flipped)), id: "" }, `bit ${bit}`).toEqual(original);
    } catch (error) {
      if (!hasCode(error, "Corrupt")) throw error;
      noticed++;
    }
  }
  return noticed;
}
