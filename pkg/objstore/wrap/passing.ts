/** A store that forwards every call; the base class of wrappers that override one or two. */
import type { AssembleOptions, ListOptions, ObjectInfo } from "#pkg/objstore/object-store.ts";
import type { ObjectStore, Piece, ReadOptions } from "#pkg/objstore/object-store.ts";

export class ForwardingStore implements ObjectStore {
  readonly kind: string;
  protected readonly store: ObjectStore;

  constructor(store: ObjectStore) {
    this.kind = store.kind;
    this.store = store;
  }

  put(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<void> {
    return this.store.put(key, bytes, options);
  }

  putIfAbsent(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<boolean> {
    return this.store.putIfAbsent(key, bytes, options);
  }

  assemble(key: string, pieces: readonly Piece[], options?: AssembleOptions): Promise<void> {
    return this.store.assemble(key, pieces, options);
  }

  get(key: string, options?: ReadOptions): Promise<Uint8Array> {
    return this.store.get(key, options);
  }

  getRange(key: string, start: number, end: number, options?: ReadOptions): Promise<Uint8Array> {
    return this.store.getRange(key, start, end, options);
  }

  head(key: string, options?: ReadOptions): Promise<ObjectInfo> {
    return this.store.head(key, options);
  }

  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    return this.store.list(prefix, options);
  }

  listFolders(prefix: string, options?: ReadOptions): Promise<string[]> {
    return this.store.listFolders(prefix, options);
  }

  delete(key: string, options?: ReadOptions): Promise<void> {
    return this.store.delete(key, options);
  }

  deleteMany(keys: readonly string[], options?: ReadOptions): Promise<void> {
    return this.store.deleteMany(keys, options);
  }
}
