/**
 * Bloom filters of trace ids, shard by shard: read with one ranged get each, checked against the
 * CRC that stands in the block's commit, and kept in a cache of bounded bytes.
 */
import { crc32 } from "node:zlib";
import { LRUCache } from "lru-cache";
import type { BlockTags } from "#pkg/block/block.ts";
import { bloomShards, markBloom, traceIdPairs } from "#pkg/block/index/bloom.ts";
import { hasCode, toSpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import { checkSignal, type ObjectStore } from "#pkg/objstore/objstore.ts";
import { traceIdBytes } from "#pkg/otlp/otlp.ts";
import type { QuerierMetrics } from "./metrics.ts";

export interface TraceBloomsOptions {
  store: ObjectStore;
  cacheBytes: number;
  metrics: QuerierMetrics;
  log: Log;
}

export class TraceBlooms {
  readonly #options: TraceBloomsOptions;
  readonly #cache: LRUCache<string, Uint8Array>;
  /** Hashes of ids, while their bytes are in use. */
  readonly #pairs = new WeakMap<Uint8Array, Uint32Array>();
  readonly #reading = new Map<string, Promise<Uint8Array | undefined>>();

  constructor(options: TraceBloomsOptions) {
    this.#options = options;
    this.#cache = new LRUCache({
      maxSize: options.cacheBytes,
      sizeCalculation: (bytes, key) => bytes.length + key.length * 2 + 100,
    });
  }

  /**
   * 1 for each of the traces (16 bytes each) that the block at `key` may hold. All of them if the
   * filter cannot be read or is corrupt: the block itself then answers or fails. Throws Canceled
   * and Timeout only.
   */
  async mayHold(
    key: string,
    bloom: BlockTags["bloom"],
    ids: Uint8Array,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const pairs = this.#pairsOf(ids);
    const marks = new Uint8Array(ids.length / traceIdBytes);
    for (const index of bloomShards(bloom, pairs)) {
      const bytes = await this.#shard(key, bloom, index);
      checkSignal(signal, `look into the bloom filter of block ${key}`);
      if (bytes === undefined) return marks.fill(1);
      markBloom(bloom, { index, bytes }, pairs, marks);
    }
    return marks;
  }

  /** Many blocks are asked for the same traces. */
  #pairsOf(ids: Uint8Array): Uint32Array {
    const known = this.#pairs.get(ids);
    if (known !== undefined) return known;
    const pairs = traceIdPairs(ids);
    this.#pairs.set(ids, pairs);
    return pairs;
  }

  async #shard(
    key: string,
    bloom: BlockTags["bloom"],
    shard: number,
  ): Promise<Uint8Array | undefined> {
    const cacheKey = `${shard} ${key}`;
    const known = this.#cache.get(cacheKey);
    if (known !== undefined) {
      this.#options.metrics.bloomReads.inc({ outcome: "cached" });
      return known;
    }
    let reading = this.#reading.get(cacheKey);
    if (reading === undefined) {
      reading = this.#read(key, bloom, shard).finally(() => this.#reading.delete(cacheKey));
      this.#reading.set(cacheKey, reading);
    }
    const bytes = await reading;
    if (bytes !== undefined) this.#cache.set(cacheKey, bytes);
    return bytes;
  }

  /** Shared by all who want it now, so that no single one of them can cancel it. */
  async #read(
    key: string,
    bloom: BlockTags["bloom"],
    shard: number,
  ): Promise<Uint8Array | undefined> {
    const { store, metrics, log } = this.#options;
    const shardBytes = bloom.bitsPerShard / 8;
    const start = bloom.offset + shard * shardBytes;
    try {
      // What a cache holds may be damaged where the bucket is not.
      for (const isFresh of [false, true]) {
        const bytes = await store.getRange(key, start, start + shardBytes, { isFresh });
        if (crc32(bytes) !== bloom.crcs[shard]) continue;
        metrics.bloomReads.inc({ outcome: "read" });
        return bytes;
      }
      log.error({ block: key, shard }, "checksum of a bloom filter does not match");
    } catch (error) {
      const fields = { block: key, shard, error: toSpoorError(error).message };
      if (hasCode(error, "Corrupt")) log.error(fields, "a bloom filter cannot be read");
      else log.warn(fields, "a bloom filter cannot be read");
    }
    metrics.bloomReads.inc({ outcome: "failed" });
    return undefined;
  }
}
