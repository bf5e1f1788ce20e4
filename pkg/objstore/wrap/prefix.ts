/** Presents the objects below a prefix as a store: key "k" is key "<prefix>k" of the bucket. */
import { checkFolderPrefix } from "#pkg/objstore/keys.ts";
import type { AssembleOptions, ListOptions, ObjectInfo } from "#pkg/objstore/object-store.ts";
import type { ObjectStore, Piece, ReadOptions } from "#pkg/objstore/object-store.ts";

/** Wraps `store`. `prefix` is "" or ends with "/"; throws InvalidInput if it cannot begin a key. */
export function prefixStore(store: ObjectStore, prefix: string): ObjectStore {
  checkFolderPrefix(prefix);
  return prefix === "" ? store : new PrefixStore(store, prefix);
}

class PrefixStore implements ObjectStore {
  readonly kind: string;
  readonly #store: ObjectStore;
  readonly #prefix: string;

  constructor(store: ObjectStore, prefix: string) {
    this.kind = store.kind;
    this.#store = store;
    this.#prefix = prefix;
  }

  async put(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<void> {
    await this.#store.put(this.#prefix + key, bytes, options);
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<boolean> {
    return await this.#store.putIfAbsent(this.#prefix + key, bytes, options);
  }

  async assemble(key: string, pieces: readonly Piece[], options?: AssembleOptions): Promise<void> {
    const below = pieces.map((piece) =>
      piece instanceof Uint8Array ? piece : { ...piece, key: this.#prefix + piece.key },
    );
    await this.#store.assemble(this.#prefix + key, below, options);
  }

  async get(key: string, options?: ReadOptions): Promise<Uint8Array> {
    return await this.#store.get(this.#prefix + key, options);
  }

  async getRange(
    key: string,
    start: number,
    end: number,
    options?: ReadOptions,
  ): Promise<Uint8Array> {
    return await this.#store.getRange(this.#prefix + key, start, end, options);
  }

  async head(key: string, options?: ReadOptions): Promise<ObjectInfo> {
    return this.#strip(await this.#store.head(this.#prefix + key, options));
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncIterable<ObjectInfo> {
    const startAfter = this.#prefix + (options.startAfter ?? "");
    const below = this.#store.list(this.#prefix + prefix, { ...options, startAfter });
    for await (const info of below) yield this.#strip(info);
  }

  async listFolders(prefix: string, options?: ReadOptions): Promise<string[]> {
    return await this.#store.listFolders(this.#prefix + prefix, options);
  }

  async delete(key: string, options?: ReadOptions): Promise<void> {
    await this.#store.delete(this.#prefix + key, options);
  }

  async deleteMany(keys: readonly string[], options?: ReadOptions): Promise<void> {
    await this.#store.deleteMany(
      keys.map((key) => this.#prefix + key),
      options,
    );
  }

  #strip(info: ObjectInfo): ObjectInfo {
    return { ...info, key: info.key.slice(this.#prefix.length) };
  }
}
