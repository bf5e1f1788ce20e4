/**
 * The points where a crash round kills the binary: at a random time, or at a named point in the
 * life of a span, detected by the binary's requests and responses.
 *
 *     append     the log is durable, the client has no response
 *     upload     a block is in the bucket, no commit names it
 *     commit     the commit is in the bucket, the log is not trimmed
 *     recovery   the table is being read after a start
 *     outage     at a random time after MinIO was killed and restarted
 */
import type { HttpProxy, ProxiedRequest } from "#integration/parts/http-proxy.ts";
import type { CrashBucket } from "./crash-bucket.ts";

export const killPoints = ["random", "append", "upload", "commit", "recovery", "outage"] as const;
export type KillPoint = (typeof killPoints)[number];

export interface PointOptions {
  point: KillPoint;
  bucket: CrashBucket;
  /** Between the client and the binary. */
  front: HttpProxy;
  random: () => number;
}

/** Time after which a point counts as missed; the binary is killed nevertheless. */
const missedMs = 20_000;
const outageMs = 1500;

const isAppend = ({ method, url }: ProxiedRequest): boolean =>
  method === "POST" && url === "/v1/traces";
const isUpload = ({ method, url }: ProxiedRequest): boolean =>
  method === "PUT" && url.includes("/blocks/");
const isCommit = ({ method, url }: ProxiedRequest): boolean =>
  method === "PUT" && /\/_delta_log\/\d{20}\.json/u.test(url);
/** Matches reads of the table, not of the probe. */
const isRecovery = ({ method, url }: ProxiedRequest): boolean =>
  method === "GET" && url.includes("_delta_log");

/** Resolves when the binary should be killed; returns whether it has reached the point. */
export async function untilPoint(options: PointOptions): Promise<boolean> {
  const { point, bucket, front, random } = options;
  switch (point) {
    case "random":
      await sleep(random() * 1500);
      return true;
    case "append":
      await sleep(random() * 500);
      return await soon(front.trap(isAppend, "after"));
    case "upload":
      return await soon(bucket.proxy.trap(isUpload, "after"));
    case "commit":
      return await soon(bucket.proxy.trap(isCommit, "after"));
    case "recovery":
      return await soon(bucket.proxy.trap(isRecovery, random() < 0.5 ? "before" : "after"));
    default:
      await sleep(random() * 500);
      await bucket.killMinio();
      await sleep(random() * outageMs);
      await bucket.restartMinio();
      await sleep(random() * 1500);
      return true;
  }
}

async function soon(reached: Promise<void>): Promise<boolean> {
  const missed = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => missed.resolve(false), missedMs);
  const isReached = await Promise.race([reached.then(() => true), missed.promise]);
  clearTimeout(timer);
  return isReached;
}

async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
