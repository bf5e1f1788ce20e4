/**
 * The Parquet library for reading, loaded when it is needed first: what Spoor itself wrote is read
 * without it, and a thread without its WASM starts sooner and is smaller.
 */
import type * as arrow from "./arrow-read.ts";
import type * as parquet from "./parquet.ts";

type Library = Pick<typeof parquet, "ParquetReader" | "wasmMemoryBytes"> &
  Pick<typeof arrow, "decodeArrow">;

let library: Library | undefined;

/** Loads it, the first time. */
export async function loadParquetLibrary(): Promise<Library> {
  if (library !== undefined) return library;
  const [{ ParquetReader, wasmMemoryBytes }, { decodeArrow }] = await Promise.all([
    import("./parquet.ts"),
    import("./arrow-read.ts"),
  ]);
  library = { ParquetReader, wasmMemoryBytes, decodeArrow };
  return library;
}

/** Memory of this thread's WASM instance, bytes; 0 while nothing has loaded it. */
export function libraryMemoryBytes(): number {
  return library?.wasmMemoryBytes() ?? 0;
}
