/** A bucket for crash rounds: MinIO behind a proxy that observes every request of the binary. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { makeS3Bucket } from "#integration/parts/buckets.ts";
import { type HttpProxy, startHttpProxy } from "#integration/parts/http-proxy.ts";
import { type Minio, startMinio } from "#integration/parts/minio.ts";
import { s3StorageYaml } from "#integration/parts/spoor-on-bucket.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { openS3Store } from "#pkg/objstore/s3/s3.ts";

export interface CrashBucket {
  /** Section `storage` of the config. */
  storageYaml: string;
  /** The bucket, without the proxy. */
  store: ObjectStore;
  proxy: HttpProxy;
  killMinio(): Promise<void>;
  /** Restarts MinIO on the same port and folder. */
  restartMinio(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts the bucket in `dir`, an empty folder. */
export async function startCrashBucket(dir: string): Promise<CrashBucket> {
  const minioDir = join(dir, "minio");
  await mkdir(minioDir, { recursive: true });
  let minio: Minio = await startMinio({ dir: minioDir });
  const { port, address } = minio;
  const options = await makeS3Bucket(minio, "crash");
  const proxy = await startHttpProxy(address);
  // Short timeouts, so that a round with an outage does not wait long.
  const patience = "  requests: {timeout: 3s, attempts_max: 3, backoff_max: 1s}\n";
  return {
    storageYaml: s3StorageYaml(options, { endpoint: proxy.address }) + patience,
    store: openS3Store(options),
    proxy,
    killMinio: async () => await minio.kill(),
    restartMinio: async () => {
      minio = await startMinio({ dir: minioDir, port });
    },
    stop: async () => {
      await proxy.stop();
      await minio.stop();
    },
  };
}
