/** How a job on a worker thread finds its block. */
import type { StoreConfig } from "#pkg/objstore/objstore.ts";

/** A block's store, key and layout, as plain data. */
export interface BlockJobBase {
  store: StoreConfig;
  key: string;
  sizeBytes: number;
  indexOffset: number;
  footerOffset: number;
  /** `blockFactsCrc` of the block's commit; unchecked if absent. */
  factsCrc?: number;
}
