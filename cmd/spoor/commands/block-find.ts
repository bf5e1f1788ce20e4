/** `spoor block find TRACE`: finds the blocks that hold spans of a trace, and counts them. */
import { crc32 } from "node:zlib";
import { type BlockTags, openBlock, parseBlockTags } from "#pkg/block/block.ts";
import { bloomMayHold, bloomShard, traceIdHasher } from "#pkg/block/index/bloom.ts";
import { findInRowGroup } from "#pkg/engine/engine.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { decodeTraceData, partitionOf } from "#pkg/otlp/otlp.ts";
import type { BlockCatalog, BlockSource } from "./block-places.ts";

export interface FoundIn {
  block: string;
  /** Spans of the trace in the block. */
  spans: number;
}

export interface FindOptions {
  tenants: readonly string[];
  /** 16 bytes. */
  traceId: Uint8Array;
  /** Called for a block that could not be read. */
  onError: (block: string, error: SpoorError) => void;
}

/** Yields the blocks that hold the trace. Skips blocks by partition, then by bloom filter. */
export async function* findBlocks(
  catalog: BlockCatalog,
  { tenants, traceId, onError }: FindOptions,
): AsyncIterable<FoundIn> {
  for (const tenant of tenants) {
    for (const [path, file] of await catalog.files(tenant)) {
      const name = `${tenant}/${path}`;
      try {
        const tags = parseBlockTags(file);
        const { index, count } = tags.partition;
        if (partitionOf(traceId, 0, count) !== index) continue;
        const block = await catalog.block(name);
        if (!(await mayHold(block, tags, traceId))) continue;
        const spans = await countSpans(block, traceId);
        if (spans > 0) yield { block: name, spans };
      } catch (error) {
        if (!(error instanceof SpoorError)) throw error;
        onError(name, error);
      }
    }
  }
}

async function mayHold(
  { store, key }: BlockSource,
  { bloom }: BlockTags,
  traceId: Uint8Array,
): Promise<boolean> {
  const shard = bloomShard(bloom, traceId, traceIdHasher);
  const sizeBytes = bloom.bitsPerShard / 8;
  const start = bloom.offset + shard * sizeBytes;
  const bytes = await store.getRange(key, start, start + sizeBytes);
  if (crc32(bytes) !== bloom.crcs[shard]) {
    throw new SpoorError("Corrupt", `block ${key}: bloom shard ${shard} has a wrong checksum`);
  }
  return bloomMayHold(bloom, bytes, traceId, traceIdHasher);
}

async function countSpans({ store, key }: BlockSource, traceId: Uint8Array): Promise<number> {
  const { sizeBytes } = await store.head(key);
  const reader = await openBlock({ store, key, sizeBytes });
  try {
    let count = 0;
    for (const rowGroup of reader.rowGroups.keys()) {
      const found = await findInRowGroup(reader, rowGroup, { traceId });
      const resources = found.flatMap((piece) => decodeTraceData(piece).resourceSpans);
      const scopes = resources.flatMap(({ scopeSpans }) => scopeSpans);
      for (const { spans } of scopes) count += spans.length;
    }
    return count;
  } finally {
    reader.close();
  }
}
