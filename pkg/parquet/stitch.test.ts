import { crc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { batchOf, type Column, type ColumnBatch } from "#pkg/columns/column-batch.ts";
import { DictBuilder } from "#pkg/columns/dict-builder.ts";
import { spanKeys } from "#pkg/columns/spans.ts";
import { hasCode } from "#pkg/errors/errors.ts";
import { decodeArrow } from "./arrow-read.ts";
import { encodeArrow, type NamedColumn } from "./arrow-write.ts";
import { footerRowGroups, parquetTailBytes } from "./footer.ts";
import { encodeParquet, ParquetReader } from "./parquet-wasm.ts";
import { stitch } from "./stitch.ts";
import { decodeThrift } from "./thrift.ts";

interface Row {
  text: string | null;
  long: bigint | null;
  int: number;
  double: number | null;
  flag: boolean | null;
  texts: string[];
  times: bigint[];
}

const i64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const text = fc.string({ unit: "grapheme", maxLength: 6 });
const nullable = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> =>
  fc.option(arbitrary, { freq: 3 });
const row: fc.Arbitrary<Row> = fc.record({
  text: nullable(text),
  long: nullable(i64),
  int: fc.integer(),
  double: nullable(fc.double({ noNaN: true })),
  flag: nullable(fc.boolean()),
  texts: fc.array(text, { maxLength: 3 }),
  times: fc.array(i64, { maxLength: 2 }),
});
const rowGroup = fc.array(row, { minLength: 1, maxLength: 30 });

function bits(rows: readonly Row[], has: (row: Row) => boolean): Uint8Array {
  const out = new Uint8Array((rows.length + 7) >> 3);
  rows.forEach((one, i) => (out[i >> 3] |= has(one) ? 1 << (i & 7) : 0));
  return out;
}

function offsets(lists: readonly (readonly unknown[])[]): Int32Array {
  const out = new Int32Array(lists.length + 1);
  lists.forEach((list, i) => (out[i + 1] = out[i] + list.length));
  return out;
}

function columnsOf(rows: readonly Row[]): Map<string, Column> {
  const texts = new DictBuilder();
  const codes = rows.map((r) => (r.text === null ? -1 : texts.code(r.text)));
  const items = new DictBuilder();
  const itemCodes = Int32Array.from(
    rows.flatMap((r) => r.texts),
    (item) => items.code(item),
  );
  const times = BigInt64Array.from(rows.flatMap((r) => r.times));
  return new Map<string, Column>([
    ["name", texts.column(Int32Array.from(codes))],
    [
      "span.long:int",
      {
        kind: "int64",
        values: BigInt64Array.from(rows, (r) => r.long ?? 0n),
        valid: bits(rows, (r) => r.long !== null),
      },
    ],
    ["flags", { kind: "int32", values: Int32Array.from(rows, (r) => r.int), valid: undefined }],
    [
      "span.x:double",
      {
        kind: "double",
        values: Float64Array.from(rows, (r) => r.double ?? 0),
        valid: bits(rows, (r) => r.double !== null),
      },
    ],
    [
      "span.b:bool",
      {
        kind: "bool",
        values: Uint8Array.from(rows, (r) => (r.flag === true ? 1 : 0)),
        valid: bits(rows, (r) => r.flag !== null),
      },
    ],
    [
      "event_name",
      {
        kind: "list",
        offsets: offsets(rows.map((r) => r.texts)),
        child: items.column(itemCodes),
      },
    ],
    [
      "event_time",
      {
        kind: "list",
        offsets: offsets(rows.map((r) => r.times)),
        child: { kind: "int64", values: times, valid: undefined },
      },
    ],
  ]);
}

function fileOf(rows: readonly Row[]): Uint8Array {
  const columns = [...columnsOf(rows)].map(([name, column]): NamedColumn => ({ name, column }));
  return encodeParquet(encodeArrow(columns, rows.length), rows.length, new Map());
}

/** Returns rows as texts that do not depend on dictionary codes. */
function texts(batch: ColumnBatch): string[] {
  const decoded = batch.names.map((name) => values(batch.column(name)!, batch.rows));
  return spanKeys(batch).map((_, i) => JSON.stringify(decoded.map((column) => column[i])));
}

function values(column: Column, rows: number): unknown[] {
  const all = Array.from({ length: rows }).keys();
  if (column.kind === "list") {
    const child = values(column.child, column.offsets[rows]);
    return all.map((i) => child.slice(column.offsets[i], column.offsets[i + 1])).toArray();
  }
  if (column.kind === "dict") {
    const { bytes, offsets: at } = column.dictionary;
    const textOf = (code: number): string =>
      Buffer.from(bytes).toString("utf8", at[code], at[code + 1]);
    return all.map((i) => (column.codes[i] < 0 ? null : textOf(column.codes[i]))).toArray();
  }
  const { valid } = column;
  return all
    .map((i) => {
      if (valid !== undefined && (valid[i >> 3] & (1 << (i & 7))) === 0) return null;
      return Object.is(column.values[i], -0) ? "-0" : String(column.values[i]);
    })
    .toArray();
}

/** The bytes of a stitched file with something between body and footer. */
function whole(files: readonly Uint8Array[], between: number): Uint8Array {
  const { body, footer } = stitch(files, "test");
  const tail = Buffer.alloc(parquetTailBytes);
  tail.writeUInt32LE(footer.length, 0);
  tail.write("PAR1", 4, "latin1");
  return Buffer.concat([...body, Buffer.alloc(between, 0xaa), footer, tail]);
}

async function readBack(file: Uint8Array): Promise<string[]> {
  const reader = await ParquetReader.open({
    sizeBytes: file.length,
    read: (start, end) => file.subarray(start, end),
  });
  const size = new DataView(file.buffer, file.byteOffset).getUint32(file.length - 8, true);
  const groups = footerRowGroups(decodeThrift(file, file.length - 8 - size).value);
  const out: string[] = [];
  for (const [i, { rows, columns }] of groups.entries()) {
    const names = columns.map(({ name }) => name);
    const ipc = await reader.read({ rowGroup: i, columns: names, rows });
    out.push(...texts(batchOf(rows, decodeArrow(ipc, rows))));
  }
  reader.close();
  return out;
}

describe("stitch", () => {
  it("keeps the rows of all files, in order, with any bytes before the footer", async () => {
    const files = fc.array(rowGroup, { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(files, fc.nat({ max: 300 }), async (groups, between) => {
        const expected = groups.flatMap((rows) => texts(batchOf(rows.length, columnsOf(rows))));
        const file = whole(groups.map(fileOf), between);
        expect(await readBack(file)).toEqual(expected);
        // A stitched file can be stitched again.
        expect(await readBack(whole([file, file], 0))).toEqual([...expected, ...expected]);
      }),
      { numRuns: 40 },
    );
  });

  it("covers the body with segments whose checksums match", () => {
    fc.assert(
      fc.property(fc.array(rowGroup, { minLength: 1, maxLength: 3 }), (groups) => {
        const { body, bodyBytes, segments } = stitch(groups.map(fileOf), "test");
        const bytes = Buffer.concat(body);
        let at = 0;
        for (const { sizeBytes, crc } of segments) {
          expect(sizeBytes).toBeGreaterThan(0);
          expect(crc32(bytes.subarray(at, at + sizeBytes))).toBe(crc);
          at += sizeBytes;
        }
        expect(at).toBe(bytes.length);
        expect(at).toBe(bodyBytes);
      }),
      { numRuns: 30 },
    );
  });

  it("rejects files of different schemas", () => {
    const [only] = fc.sample(rowGroup, { numRuns: 1, seed: 3 });
    const columns = [...columnsOf(only)].map(([name, column]): NamedColumn => ({ name, column }));
    const fewer = columns.slice(1);
    const other = encodeParquet(encodeArrow(fewer, only.length), only.length, new Map());
    expect(() => stitch([fileOf(only), other], "test")).toThrow(/different schemas/);
    expect(() => stitch([], "test")).toThrow(/zero files/);
  });

  it("throws Corrupt for damaged files, and never anything else", () => {
    const [only] = fc.sample(rowGroup, { numRuns: 1, seed: 4 });
    const file = fileOf(only);
    const damaged = fc.array(fc.tuple(fc.nat({ max: file.length - 1 }), fc.nat({ max: 255 })), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(damaged, fc.nat({ max: file.length }), (changes, cut) => {
        const bytes = Uint8Array.from(file);
        for (const [at, byte] of changes) bytes[at] = byte;
        for (const input of [bytes, file.subarray(0, cut), file.subarray(cut)]) {
          try {
            stitch([input], "test");
          } catch (error) {
            expect(hasCode(error, "Corrupt"), String(error)).toBe(true);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});
