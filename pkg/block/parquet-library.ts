/**
 * The Parquet library for reading, loaded when it is needed first: what Spoor itself wrote is read
 * without it, and a thread without its WASM starts sooner and is smaller.
 */
import type * as arrow from "./arrow-read.ts";
import type * as parquet from "./parquet.ts";

type Loaded = Pick<typeof parquet, "ParquetReader" | "wasmMemoryBytes"> &
  Pick<typeof arrow, "decodeArrow">;

export class ParquetLibrary {
  #loaded: Loaded | undefined;

  async load(): Promise<Loaded> {
    if (this.#loaded !== undefined) return this.#loaded;
    const [{ ParquetReader, wasmMemoryBytes }, { decodeArrow }] = await Promise.all([
      import("./parquet.ts"),
      import("./arrow-read.ts"),
    ]);
    this.#loaded = { ParquetReader, wasmMemoryBytes, decodeArrow };
    return this.#loaded;
  }

  /** Memory of this thread's WASM instance, bytes; 0 while it was not needed. */
  get memoryBytes(): number {
    return this.#loaded?.wasmMemoryBytes() ?? 0;
  }
}
