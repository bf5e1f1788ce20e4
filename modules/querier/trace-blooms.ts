/**
 * Bloom filters of trace ids. Each shard is read with one ranged get, checked against the CRC in
 * the block's commit, and kept in a cache bounded by bytes.
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
  /** Hashes of the ids of a request; kept as long as its array of ids. */
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
   * Returns a byte per trace: 1 if the block at `key` may hold it. All are 1 if the filter cannot
   * be read or is corrupt: the block itself then answers or fails. Throws only Canceled, Timeout.
   *
   * @param ids 16 bytes per trace.
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

  /** Returns the hashes of ids; cached, since many blocks are asked for the same traces. */
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

  /** Reads a shard. Callers share the read, so none of them can cancel it. */
  async #read(
    key: string,
    bloom: BlockTags["bloom"],
    shard: number,
  ): Promise<Uint8Array | undefined> {
    const { store, metrics, log } = this.#options;
    const shardBytes = bloom.bitsPerShard / 8;
    const start = bloom.offset + shard * shardBytes;
    try {
      // A cached copy may be damaged while the bucket is intact.
      for (const isFresh of [false, true]) {
        const bytes = await store.getRange(key, start, start + shardBytes, { isFresh });
        if (crc32(bytes) !== bloom.crcs[shard]) continue;
        metrics.bloomReads.inc({ outcome: "read" });
        return bytes;
      }
      log.error({ block: key, shard }, "bloom filter checksum does not match");
    } catch (error) {
      const fields = { block: key, shard, error: toSpoorError(error).message };
      if (hasCode(error, "Corrupt")) log.error(fields, "bloom filter cannot be read");
      else log.warn(fields, "bloom filter cannot be read");
    }
    metrics.bloomReads.inc({ outcome: "failed" });
    return undefined;
  }
}
