/**
 * The door of pkg/block: opening and naming blocks, their indexes and facts. Blocks are cut by
 * `cut.ts` and verified by `verify/verify.ts`.
 */
export {
  type BlockTags,
  blockPath,
  blockTimeMs,
  parseBlockTags,
  tableColumns,
  toBlockFile,
} from "./block-file.ts";
export { type BlockAddress, type BlockIndex, blockError, openBlockIndex } from "./block-index.ts";
export type { TagEntry, TagIndex, TagType } from "#pkg/block/index/tag-index.ts";
export { type TagKey, type TagKeys, valueLocations } from "#pkg/block/index/tag-parts.ts";
export type { PartLocation } from "./place.ts";
export { type BlockReader, openBlock } from "./reader.ts";
export { duckdbStatements } from "./sql.ts";
