/** Queries an entry of a tag index (tag-index.ts): can a row group hold this value of a key? */
import { BloomShard, bloomShard, bytesHasher } from "./bloom.ts";
import type { TagEntry } from "./tag-index.ts";

/** The values of one key, opened for look-ups. */
export class TagValues {
  readonly #entry: TagEntry;
  readonly #values: ReadonlySet<string>;
  readonly #shards = new Map<number, BloomShard>();

  constructor(entry: TagEntry) {
    this.#entry = entry;
    this.#values = new Set(entry.values.map(([text]) => text));
  }

  /** Returns whether the key can have this value, as text. Throws Corrupt for a damaged filter. */
  mayHold(text: string): boolean {
    if (this.#values.has(text)) return true;
    const { truncated, bloom } = this.#entry;
    if (!truncated || bloom === undefined) return truncated;
    const bytes = Buffer.from(text, "utf8");
    const index = bloomShard(bloom.shape, bytes, bytesHasher);
    let shard = this.#shards.get(index);
    if (shard === undefined) {
      shard = new BloomShard(bloom.shape, Buffer.from(bloom.shards[index], "base64"), bytesHasher);
      this.#shards.set(index, shard);
    }
    return shard.mayHold(bytes);
  }
}
