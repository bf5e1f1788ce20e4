/** How a thread opens the bucket by itself: plain data, because stores do not cross threads. */
import { openFsStore } from "./fs.ts";
import type { ObjectStore } from "./objstore.ts";

export interface FsStoreConfig {
  kind: "fs";
  /** Folder that holds the objects. */
  root: string;
}

export type StoreConfig = FsStoreConfig;

/** Opens the bucket. Errors: those of the store's kind. */
export async function openStore(config: StoreConfig): Promise<ObjectStore> {
  return await openFsStore(config.root);
}
