/** Builds a DictColumn from strings, for cold paths: one Map look-up per value. */
import type { ByteValues, DictColumn } from "./column-batch.ts";

export class DictBuilder {
  readonly #codes = new Map<string, number>();
  readonly #values: Buffer[] = [];

  /** Returns the code of a text; adds the text if it is new. */
  code(text: string): number {
    const known = this.#codes.get(text);
    if (known !== undefined) return known;
    const code = this.#values.length;
    this.#codes.set(text, code);
    this.#values.push(Buffer.from(text, "utf8"));
    return code;
  }

  get length(): number {
    return this.#values.length;
  }

  values(): ByteValues {
    return concatValues(this.#values);
  }

  column(codes: Int32Array): DictColumn {
    return { kind: "dict", type: "string", codes, dictionary: this.values() };
  }
}

/** Concatenates byte strings. */
export function concatValues(values: readonly Uint8Array[]): ByteValues {
  const offsets = new Int32Array(values.length + 1);
  let size = 0;
  for (let i = 0; i < values.length; i++) {
    size += values[i].length;
    offsets[i + 1] = size;
  }
  return { bytes: Buffer.concat(values), offsets, length: values.length };
}
