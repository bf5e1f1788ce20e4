/** The stores of one thread: each bucket is opened once and then shared by its users. */
import type { ObjectStore } from "./object-store.ts";
import { openStore, type StoreConfig, storeName } from "./store-config.ts";

/** Opens the bucket of a config. */
export interface StoreOpener {
  open(config: StoreConfig): Promise<ObjectStore>;
}

export class ThreadStores implements StoreOpener {
  readonly #stores = new Map<string, Promise<ObjectStore>>();

  /** Throws the error of opening; the next call tries again. */
  async open(config: StoreConfig): Promise<ObjectStore> {
    const name = storeName(config);
    let store = this.#stores.get(name);
    if (store === undefined) {
      store = openStore(config);
      this.#stores.set(name, store);
      store.catch(() => this.#stores.delete(name));
    }
    return await store;
  }
}
