/**
 * Wraps parquet-wasm: writes Arrow IPC as a Parquet file of one row group, and reads columns of a
 * row group as Arrow IPC.
 *
 * A panic inside WASM is an uncaught error of the thread: the promise of the call never settles, no
 * catch sees the error, and the instance is unusable. WASM memory never shrinks. Therefore only
 * worker threads that are replaced after an error load this module (and tests, inline).
 */
import {
  Compression,
  Encoding,
  EnabledStatistics,
  ParquetFile,
  Table,
  wasmMemory,
  type WriterProperties,
  WriterPropertiesBuilder,
  writeParquet,
} from "parquet-wasm";
import { SpoorError } from "#pkg/errors/errors.ts";

/** Memory of this thread's WASM instance, bytes; it never shrinks. */
export function wasmMemoryBytes(): number {
  return wasmMemory().buffer.byteLength;
}

/** Encoding of a column; `auto` uses a dictionary and falls back to plain if it grows too large. */
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

/** The bytes of a file that are in memory. */
export interface RangeSource {
  readonly sizeBytes: number;
  /** Returns bytes [start, end), already checked. Throws Corrupt if they are not in memory. */
  read(start: number, end: number): Uint8Array;
}

export interface ReadRequest {
  rowGroup: number;
  /** Top-level columns; each must exist. */
  columns: readonly string[];
  /** Rows in the row group. */
  rows: number;
  /** Rows to read, [from, to); undefined: all. */
  range?: { from: number; to: number };
}

/** An open Parquet file. Call `close` when done. */
export class ParquetReader {
  readonly #file: ParquetFile;
  readonly #failure: ReadFailure;

  private constructor(file: ParquetFile, failure: ReadFailure) {
    this.#file = file;
    this.#failure = failure;
  }

  /** Opens a file: parses its footer and offset indexes. */
  static async open(source: RangeSource): Promise<ParquetReader> {
    const failure = new ReadFailure();
    // The library uses only these members of a Blob.
    const slice = (start: number, end: number): Pick<Blob, "arrayBuffer"> => ({
      arrayBuffer: async () => readSlice(source, start, end, failure),
    });
    const handle = {
      size: source.sizeBytes,
      type: "",
      slice,
      arrayBuffer: async () => readSlice(source, 0, source.sizeBytes, failure),
    };
    const file = await failure.guard(() => ParquetFile.fromFile(handle as unknown as Blob));
    return new ParquetReader(file, failure);
  }

  /** Reads columns of one row group as an Arrow IPC stream with one record batch. */
  async read({ rowGroup, columns, rows, range }: ReadRequest): Promise<Uint8Array> {
    const some = range && { offset: range.from, limit: range.to - range.from };
    const table = await this.#failure.guard(() =>
      this.#file.read({ rowGroups: [rowGroup], columns: [...columns], batchSize: rows, ...some }),
    );
    return table.intoIPCStream();
  }

  close(): void {
    this.#file.free();
  }
}

function readSlice(
  source: RangeSource,
  start: number,
  end: number,
  failure: ReadFailure,
): ArrayBuffer {
  try {
    const { buffer, byteOffset, length } = source.read(start, end);
    return buffer.slice(byteOffset, byteOffset + length) as ArrayBuffer;
  } catch (error) {
    failure.set(error);
    throw error;
  }
}

/** Ignores the rejection if no call of `guard` is pending: the next call throws the error. */
function ignoreReadFailure(): void {}

/**
 * Passes the error of a failed `RangeSource.read` to the caller. WASM hides the error, or panics
 * and its promise never settles.
 */
class ReadFailure {
  readonly #failed = Promise.withResolvers<never>();

  constructor() {
    this.#failed.promise.catch(ignoreReadFailure);
  }

  /** Records the error and rejects all pending and later calls of `guard`. */
  set(error: unknown): void {
    this.#failed.reject(error);
  }

  /** Runs a call of the library. Throws Corrupt, or the recorded error. */
  async guard<T>(run: () => Promise<T>): Promise<T> {
    const work = run().catch((error: unknown) => {
      throw new SpoorError("Corrupt", `Parquet reader refused the data: ${String(error)}`, {
        cause: error,
      });
    });
    return await Promise.race([this.#failed.promise, work]);
  }
}
