/**
 * Configuration from which each thread opens the bucket. It is plain data, because stores cannot be
 * passed between threads. Its buffers are shared memory: all threads use one ledger and one count
 * of the bytes in the disk cache.
 */
import { redactUserinfo } from "#pkg/log/log.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { cacheStore } from "#pkg/objstore/wrap/cache.ts";
import { coalesceStore } from "#pkg/objstore/wrap/coalesce.ts";
import { countStore } from "#pkg/objstore/wrap/count.ts";
import { DiskCache } from "#pkg/objstore/wrap/disk-cache.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import type { GcsOptions } from "#pkg/objstore/gcs/gcs-options.ts";
import { hedgeStore } from "#pkg/objstore/wrap/hedge.ts";
import { StoreLedger } from "./ledger.ts";
import { limitStore } from "#pkg/objstore/wrap/limit.ts";
import type { ObjectStore } from "./object-store.ts";
import { prefixStore } from "#pkg/objstore/wrap/prefix.ts";
import { retryStore } from "#pkg/objstore/wrap/retry.ts";
import type { S3Options } from "#pkg/objstore/s3/s3-options.ts";
import { timeoutStore } from "#pkg/objstore/wrap/timeout.ts";

export interface FsStoreConfig {
  kind: "fs";
  /** Folder that holds the objects. */
  root: string;
  /** "" or "a/b/": all objects live below it. */
  prefix?: string;
  /** Buffer of a StoreLedger; a new one by default. */
  ledger?: SharedArrayBuffer;
}

/** Options of the wrappers around a remote store. All limits apply per thread. */
export interface RequestConfig {
  timeoutMs: number;
  bytesPerSecondMin: number;
  attemptsMax: number;
  backoffMinMs: number;
  backoffMaxMs: number;
  retryShare: number;
  retryBurst: number;
  hedgeShare: number;
  hedgeDelayMinMs: number;
  requestsMax: number;
  bytesMax: number;
  gapBytes: number;
  requestBytesMax: number;
}

export interface CacheConfig {
  /** Per thread. */
  memoryBytes: number;
  /** Empty: no disk cache. */
  dir: string;
  diskBytes: number;
  /** See DiskCacheOptions. */
  used: SharedArrayBuffer;
}

interface RemoteStoreConfig {
  prefix: string;
  requests: RequestConfig;
  cache: CacheConfig;
  ledger: SharedArrayBuffer;
}

export interface S3StoreConfig extends RemoteStoreConfig {
  kind: "s3";
  s3: S3Options;
}

export interface GcsStoreConfig extends RemoteStoreConfig {
  kind: "gcs";
  gcs: GcsOptions;
}

export type StoreConfig = FsStoreConfig | S3StoreConfig | GcsStoreConfig;

/** Opens the bucket with the wrappers of its kind. Throws the errors of the store's kind. */
export async function openStore(config: StoreConfig): Promise<ObjectStore> {
  const { prefix = "" } = config;
  const ledger = new StoreLedger(config.ledger);
  if (config.kind === "fs") {
    return countStore(prefixStore(await openFsStore(config.root), prefix), ledger);
  }
  const backend = prefixStore(await openBackend(config), prefix);
  const { cache, coalesce, retry, hedge, limit, timeout } = wrappersOf(config, ledger);
  return cache(coalesce(retry(hedge(limit(timeout(countStore(backend, ledger)))))));
}

/** Returns a name of the bucket for maps and messages, without secrets. */
export function storeName(config: StoreConfig): string {
  if (config.kind === "fs") return `fs:${config.root}/${config.prefix ?? ""}`;
  const { bucket, endpoint } = config.kind === "s3" ? config.s3 : config.gcs;
  return `${config.kind}:${redactUserinfo(endpoint)}/${bucket}/${config.prefix}`;
}

type Wrap = (store: ObjectStore) => ObjectStore;
type WrapperName = "cache" | "coalesce" | "retry" | "hedge" | "limit" | "timeout";

function wrappersOf(
  { requests, cache }: RemoteStoreConfig,
  ledger: StoreLedger,
): Record<WrapperName, Wrap> {
  const { retryShare, retryBurst, hedgeShare, hedgeDelayMinMs } = requests;
  const budget = { budgetShare: retryShare, budgetBurst: retryBurst };
  const hedging = { share: hedgeShare, delayMinMs: hedgeDelayMinMs, ledger };
  const { memoryBytes, dir, diskBytes, used } = cache;
  const hasDisk = dir !== "" && diskBytes > 0;
  const disk = hasDisk ? new DiskCache({ dir, bytesMax: diskBytes, used, ledger }) : undefined;
  return {
    timeout: (store) => timeoutStore(store, { ...requests, ledger }),
    limit: (store) => limitStore(store, { ...requests, ledger }),
    hedge: (store) => hedgeStore(store, hedging),
    retry: (store) => retryStore(store, { ...requests, ...budget, clock: systemClock, ledger }),
    coalesce: (store) => coalesceStore(store, { ...requests, ledger }),
    cache: (store) => cacheStore(store, { isImmutable, memoryBytes, disk, ledger }),
  };
}

/** Imports lazily: the SDKs of the clouds are large, and a process uses at most one. */
async function openBackend(config: S3StoreConfig | GcsStoreConfig): Promise<ObjectStore> {
  if (config.kind === "s3") return (await import("#pkg/objstore/s3/s3.ts")).openS3Store(config.s3);
  return (await import("#pkg/objstore/gcs/gcs.ts")).openGcsStore(config.gcs);
}

/** Blocks, "<tenant>/blocks/...", are written once, under names that are never reused. */
function isImmutable(key: string): boolean {
  return /^[^/]+\/blocks\//u.test(key);
}
