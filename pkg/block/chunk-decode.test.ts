/** Compares our decoder with the Parquet library. */
import fc from "fast-check";
import { describe, expect, it, inject } from "vitest";
import type { Arena } from "#pkg/bytes/arena.ts";
import { usedArena } from "#pkg/bytes/bytes.testing.ts";
import { type Column, isValid, valueBytes } from "#pkg/columns/column-batch.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { randomWire } from "#pkg/otlp/random-otlp.testing.ts";
import { decodeArrow } from "#pkg/parquet/arrow-read.ts";
import { decodeChunk } from "#pkg/parquet/chunk-decode.ts";
import { type ColumnChunk, footerRowGroups, readFooter } from "#pkg/parquet/footer.ts";
import { openPage } from "#pkg/parquet/page.ts";
import { ParquetReader } from "#pkg/parquet/parquet-wasm.ts";
import { openBlock } from "./reader.ts";
import { cutRequests, cutTraces, sampleTraces, storeOf, testKey } from "./block.testing.ts";
import { decodeThrift, encodeThrift, type ThriftStruct } from "#pkg/parquet/thrift.ts";

/** Returns each row's value as plain data, independent of dictionary and validity encoding. */
function rowsOf(column: Column, rows: number): unknown[] {
  return Array.from({ length: rows }, (_, row) => valueAt(column, row));
}

function valueAt(column: Column, row: number): unknown {
  switch (column.kind) {
    case "dict":
      if (column.codes[row] < 0) return null;
      return Buffer.from(valueBytes(column.dictionary, column.codes[row])).toString("hex");
    case "list": {
      const { offsets, child } = column;
      const length = offsets[row + 1] - offsets[row];
      return Array.from({ length }, (_, i) => valueAt(child, offsets[row] + i));
    }
    case "double":
      return isValid(column.valid, row)
        ? `${Object.is(column.values[row], -0) ? "-" : ""}${column.values[row]}`
        : null;
    case "int64": {
      if (!isValid(column.valid, row)) return null;
      const { coded } = column;
      // Both forms of a column must be equal.
      if (coded !== undefined) expect(coded.entries[coded.codes[row]]).toBe(column.values[row]);
      return String(column.values[row]);
    }
    default:
      return isValid(column.valid, row) ? String(column.values[row]) : null;
  }
}

function chunkOf(
  file: Uint8Array,
  chunk: ColumnChunk,
  rows: number,
  arena?: Arena,
): Column | undefined {
  const { start, dataStart, sizeBytes } = chunk;
  const dictionary = dataStart > start ? file.subarray(start, dataStart) : undefined;
  return decodeChunk(chunk, dictionary, [file.subarray(dataStart, start + sizeBytes)], rows, arena);
}

/** Compares all columns of all row groups; returns their number. */
async function compare(file: Uint8Array): Promise<number> {
  const groups = footerRowGroups(readFooter(file).footer);
  const read = (start: number, end: number): Uint8Array => file.subarray(start, end);
  const library = await ParquetReader.open({ sizeBytes: file.length, read });
  let compared = 0;
  for (const [rowGroup, { rows, columns }] of groups.entries()) {
    const names = columns.map(({ name }) => name);
    const theirs = decodeArrow(await library.read({ rowGroup, columns: names, rows }), rows);
    for (const chunk of columns) {
      const ours = chunkOf(file, chunk, rows);
      // Our decoder supports everything that Spoor writes.
      expect(ours, chunk.name).toBeDefined();
      const expected = rowsOf(theirs.get(chunk.name)!, rows);
      expect(rowsOf(ours!, rows), chunk.name).toEqual(expected);
      // The result must not depend on earlier content of the arena.
      const again = chunkOf(file, chunk, rows, usedArena());
      expect(rowsOf(again!, rows), chunk.name).toEqual(expected);
      compared++;
    }
  }
  library.close();
  return compared;
}

describe("decodeChunk", () => {
  it("reads every column of random blocks as the library does", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(randomWire, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 12 }),
        async (requests, rowGroupSpans) => {
          const block = cutRequests(
            requests.map(({ bytes }) => bytes),
            { rowGroupSpans },
          );
          if (block !== undefined) await compare(block.bytes);
        },
      ),
      { numRuns: 15 * inject("depth") },
    );
  }, 300_000);

  it("reads chunks of many pages, whole and in part", async () => {
    const { bytes } = cutTraces(sampleTraces(5500), { rowGroupSpans: 100_000 });
    expect(await compare(bytes)).toBeGreaterThan(20);
    const store = await storeOf(bytes);
    const reader = await openBlock({ store, key: testKey, sizeBytes: bytes.length });
    const whole = await reader.readRowGroup(0);
    for (const [from, to] of [
      [0, 1],
      [19_990, 20_010],
      [20_000, 20_001],
      [whole.rows - 1, whole.rows],
    ]) {
      const some = await reader.readRowGroup(0, undefined, { rows: { from, to } });
      for (const name of whole.names) {
        const expected = rowsOf(whole.column(name)!, whole.rows).slice(from, to);
        expect(rowsOf(some.column(name)!, some.rows), `${name} ${from}`).toEqual(expected);
      }
    }
    reader.close();
  }, 300_000);

  it("reports damaged pages as corrupt, or leaves them to the library", () => {
    const { bytes } = cutTraces(sampleTraces(20));
    const [{ rows, columns }] = footerRowGroups(readFooter(bytes).footer);
    const plain = columns.map((chunk) => ({ chunk, ...withoutCompression(bytes, chunk) }));
    fc.assert(
      fc.property(
        fc.constantFrom(...plain),
        fc.array(fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }) }), {
          minLength: 1,
          maxLength: 4,
        }),
        fc.option(fc.nat()),
        ({ chunk, dictionary, pages }, flips, cutAt) => {
          const damaged = Buffer.from(pages);
          for (const { at, byte } of flips) damaged[at % damaged.length] = byte;
          const end = cutAt === null ? damaged.length : cutAt % damaged.length;
          try {
            decodeChunk({ ...chunk, codec: 0 }, dictionary, [damaged.subarray(0, end)], rows);
          } catch (error) {
            expect(error).toBeInstanceOf(SpoorError);
            expect(error).toMatchObject({ code: "Corrupt" });
          }
        },
      ),
      { numRuns: 1500 * inject("depth") },
    );
  });
});

/** Returns the pages of a chunk without compression. */
function withoutCompression(
  file: Uint8Array,
  { start, dataStart, sizeBytes, codec }: ColumnChunk,
): { dictionary: Uint8Array | undefined; pages: Uint8Array } {
  const open = (from: number, end: number): Buffer => {
    const out: Uint8Array[] = [];
    for (let at = from; at < end;) {
      const bytes = file.subarray(at, end);
      const opened = openPage(bytes, codec)!;
      const header: ThriftStruct = decodeThrift(bytes).value;
      header.set(3, header.get(2)!);
      out.push(encodeThrift(header), opened.page.body);
      at += opened.sizeBytes;
    }
    return Buffer.concat(out);
  };
  const dictionary = dataStart > start ? open(start, dataStart) : undefined;
  return { dictionary, pages: open(dataStart, start + sizeBytes) };
}
