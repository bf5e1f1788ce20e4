/**
 * How a thread opens the bucket by itself: plain data, because stores do not cross threads. The
 * buffers in it are shared memory: all threads count into one ledger and one cache.
 */
import { redactUserinfo } from "#pkg/log/redact.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { cacheStore } from "./cache.ts";
import { coalesceStore } from "./coalesce.ts";
import { countStore } from "./count.ts";
import { DiskCache } from "./disk-cache.ts";
import { openFsStore } from "./fs.ts";
import type { GcsOptions } from "./gcs-options.ts";
import { hedgeStore } from "./hedge.ts";
import { StoreLedger } from "./ledger.ts";
import { limitStore } from "./limit.ts";
import type { ObjectStore } from "./objstore.ts";
import { prefixStore } from "./prefix.ts";
import { retryStore } from "./retry.ts";
import type { S3Options } from "./s3-options.ts";
import { timeoutStore } from "./timeout.ts";

export interface FsStoreConfig {
  kind: "fs";
  /** Folder that holds the objects. */
  root: string;
  /** "" or "a/b/": all objects live below it. */
  prefix?: string;
  /** Of a StoreLedger; undefined: its own. */
  ledger?: SharedArrayBuffer;
}

/** How requests to a server are made; see the wrappers of the same names. Per thread. */
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
  /** Of each thread. */
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

/** Opens the bucket. Errors: those of the store's kind. */
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

/** Which bucket it is, for maps and messages; holds no secret. */
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

/** The clients of the clouds are large: a process loads only the one that it uses. */
async function openBackend(config: S3StoreConfig | GcsStoreConfig): Promise<ObjectStore> {
  if (config.kind === "s3") return (await import("./s3.ts")).openS3Store(config.s3);
  return (await import("./gcs.ts")).openGcsStore(config.gcs);
}

/** Blocks are written once, under names that are never used again: "<tenant>/blocks/...". */
function isImmutable(key: string): boolean {
  return /^[^/]+\/blocks\//u.test(key);
}
