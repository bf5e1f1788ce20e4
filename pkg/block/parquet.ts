/**
 * parquet-wasm, wrapped: Arrow IPC to a Parquet file of one row group, and column chunks back.
 *
 * A panic inside WASM is an uncaught error of the thread: the promise of the call never settles, no
 * catch sees it, and the instance is unusable. WASM memory never shrinks. So this module is loaded
 * only in worker threads that are replaced after an error (and inline in tests).
 */
import {
  Compression,
  Encoding,
  EnabledStatistics,
  ParquetFile,
  Table,
  type WriterProperties,
  WriterPropertiesBuilder,
  writeParquet,
} from "parquet-wasm";
import { SpoorError } from "#pkg/errors/errors.ts";

/** How a column is encoded; `auto` lets the writer use a dictionary and fall back. */
export type ColumnEncoding = "auto" | "delta" | "plain";

/** Writes an Arrow IPC stream as a Parquet file with one row group. */
export function encodeParquet(
  ipc: Uint8Array,
  rows: number,
  encodings: ReadonlyMap<string, ColumnEncoding>,
): Uint8Array {
  const table = Table.fromIPCStream(ipc);
  // `writeParquet` consumes both, also when it throws: nothing is left to free.
  return writeParquet(table, writerProperties(rows, encodings));
}

function writerProperties(
  rows: number,
  encodings: ReadonlyMap<string, ColumnEncoding>,
): WriterProperties {
  let builder = new WriterPropertiesBuilder()
    .setCompression(Compression.ZSTD)
    .setStatisticsEnabled(EnabledStatistics.Chunk)
    .setMaxRowGroupSize(rows);
  for (const [name, encoding] of encodings) {
    if (encoding === "auto") continue;
    builder = builder
      .setColumnDictionaryEnabled(name, false)
      .setColumnEncoding(
        name,
        encoding === "delta" ? Encoding.DELTA_BINARY_PACKED : Encoding.PLAIN,
      );
  }
  return builder.build();
}

/** A file as parquet-wasm wants it: a Blob of which only these are used. */
export interface RangeSource {
  readonly sizeBytes: number;
  /** Bytes [start, end), already checked. */
  read(start: number, end: number): Promise<Uint8Array>;
}

export interface ReadRequest {
  rowGroup: number;
  /** Top-level columns; each must exist. */
  columns: readonly string[];
  /** Rows in the row group. */
  rows: number;
}

/** An open Parquet file. Call `close` when done. */
export class ParquetReader {
  readonly #file: ParquetFile;
  readonly #failure: { error: unknown };

  private constructor(file: ParquetFile, failure: { error: unknown }) {
    this.#file = file;
    this.#failure = failure;
  }

  /** Opens a file: parses its footer and offset indexes. */
  static async open(source: RangeSource): Promise<ParquetReader> {
    const failure: { error: unknown } = { error: undefined };
    const slice = (start: number, end: number): Pick<Blob, "arrayBuffer"> => ({
      arrayBuffer: () => readSlice(source, start, end, failure),
    });
    const handle = {
      size: source.sizeBytes,
      type: "",
      slice,
      arrayBuffer: () => readSlice(source, 0, source.sizeBytes, failure),
    };
    return new ParquetReader(
      await guard(() => ParquetFile.fromFile(handle as unknown as Blob), failure),
      failure,
    );
  }

  /** Reads columns of one row group as an Arrow IPC stream with one record batch. */
  async read({ rowGroup, columns, rows }: ReadRequest): Promise<Uint8Array> {
    const table = await guard(
      () => this.#file.read({ rowGroups: [rowGroup], columns: [...columns], batchSize: rows }),
      this.#failure,
    );
    return table.intoIPCStream();
  }

  close(): void {
    this.#file.free();
  }
}

async function readSlice(
  source: RangeSource,
  start: number,
  end: number,
  failure: { error: unknown },
): Promise<ArrayBuffer> {
  try {
    const bytes = await source.read(start, end);
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
  } catch (error) {
    failure.error = error;
    throw error;
  }
}

/** WASM hides why a read of ours failed: the remembered error is thrown instead of its own. */
async function guard<T>(run: () => Promise<T>, failure: { error: unknown }): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const { error: own } = failure;
    failure.error = undefined;
    if (own !== undefined) throw own;
    throw new SpoorError("Corrupt", `Parquet reader refused the data: ${String(error)}`, {
      cause: error,
    });
  }
}
