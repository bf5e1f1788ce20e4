/** Where a job finds its block. */
import type { StoreConfig } from "#pkg/objstore/objstore.ts";

/** The block, and its place in the store. */
export interface BlockJobBase {
  store: StoreConfig;
  key: string;
  sizeBytes: number;
  indexOffset: number;
  footerOffset: number;
  /** `blockFactsCrc` of the block's commit; unchecked if absent. */
  factsCrc?: number;
}
