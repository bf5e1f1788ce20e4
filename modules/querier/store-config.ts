/** How a worker thread opens the bucket by itself: plain data that crosses threads. */
import { openFsStore } from "#pkg/objstore/fs.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";

export interface FsStoreConfig {
  kind: "fs";
  /** Folder that holds the objects. */
  root: string;
}

export type StoreConfig = FsStoreConfig;

export async function openStore(config: StoreConfig): Promise<ObjectStore> {
  return await openFsStore(config.root);
}
