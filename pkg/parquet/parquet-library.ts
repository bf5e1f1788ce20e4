/**
 * Loads the Parquet library for reading on first use. Blocks that Spoor wrote are read without it,
 * and a thread without its WASM starts sooner and takes less memory.
 */
import type * as arrow from "./arrow-read.ts";
import type * as parquet from "./parquet-wasm.ts";

type Loaded = Pick<typeof parquet, "ParquetReader" | "wasmMemoryBytes"> &
  Pick<typeof arrow, "decodeArrow">;

export class ParquetLibrary {
  #loaded: Loaded | undefined;

  async load(): Promise<Loaded> {
    if (this.#loaded !== undefined) return this.#loaded;
    const [{ ParquetReader, wasmMemoryBytes }, { decodeArrow }] = await Promise.all([
      import("./parquet-wasm.ts"),
      import("./arrow-read.ts"),
    ]);
    this.#loaded = { ParquetReader, wasmMemoryBytes, decodeArrow };
    return this.#loaded;
  }

  /** Memory of this thread's WASM instance, bytes; 0 until it is loaded. */
  get memoryBytes(): number {
    return this.#loaded?.wasmMemoryBytes() ?? 0;
  }
}
