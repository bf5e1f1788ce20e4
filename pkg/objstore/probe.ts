/**
 * Checks at the start that a bucket supports what Spoor relies on: writes, conditional creates
 * (with ten racing writers, because some servers accept the condition and ignore it), ranged reads,
 * lists and deletes. The error names the missing capability.
 */
import { randomUUID } from "node:crypto";
import { hasCode, type Reason, SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import type { ObjectStore } from "./object-store.ts";

export interface ProbeOptions {
  clock: Clock;
  /** Maximum difference between the bucket's clock and this machine's. */
  clockSkewMaxMs: number;
  signal?: AbortSignal;
}

const folder = "_spoor/probe/";
const racers = 10;

/**
 * Checks the bucket with objects below `_spoor/probe/`, and removes them. Throws InvalidInput with
 * a reason of the store ("wrong_credentials", "wrong_region", "bucket_missing", "access_denied",
 * "clock_skew", ...) or with "no_read", "no_conditional_create", "no_ranges", "no_list",
 * "no_delete"; Unavailable or Timeout if the bucket does not respond.
 */
export async function probeStore(store: ObjectStore, options: ProbeOptions): Promise<void> {
  const { signal } = options;
  const name = randomUUID();
  const keys = [`${folder}${name}/written`, `${folder}${name}/raced`];
  let isDone = false;
  try {
    await probeWrites(store, keys[0], options);
    await probeRace(store, keys[1], options);
    await probeList(store, `${folder}${name}/`, keys, options);
    await store.deleteMany(keys, { signal });
    if (!(await isGone(store, keys[0], signal)))
      throw unsupported("no_delete", "it deletes nothing");
    isDone = true;
  } finally {
    if (!isDone) await store.deleteMany(keys).catch(ignoreCleanUpError);
  }
}

async function probeWrites(
  store: ObjectStore,
  key: string,
  { clock, clockSkewMaxMs, signal }: ProbeOptions,
): Promise<void> {
  const bytes = new TextEncoder().encode(`probe ${key}`);
  const beforeMs = clock.nowMs();
  await store.put(key, bytes, { signal });
  const afterMs = clock.nowMs();
  const { sizeBytes, modifiedMs } = await store.head(key, { signal });
  if (sizeBytes !== bytes.length) throw unsupported("no_read", "head returns a wrong size");
  // Object times are whole seconds.
  const aheadMs = beforeMs - modifiedMs - 1000;
  const behindMs = modifiedMs - afterMs;
  if (Math.max(aheadMs, behindMs) > clockSkewMaxMs) {
    const [apartMs, which] = aheadMs > behindMs ? [aheadMs, "ahead of"] : [behindMs, "behind"];
    const seconds = Math.round(apartMs / 1000);
    const message = `this machine's clock is ${seconds} s ${which} the bucket's: correct it`;
    throw new SpoorError("InvalidInput", message, { reason: "clock_skew" });
  }
  const [start, end] = [3, bytes.length - 2];
  const range = await store.getRange(key, start, end, { signal });
  if (Buffer.compare(range, bytes.subarray(start, end)) !== 0) {
    throw unsupported("no_ranges", "a ranged read returns wrong bytes");
  }
  const isRefused = await store.getRange(key, 0, bytes.length + 1, { signal }).then(
    () => false,
    (error: unknown) => hasCode(error, "Corrupt"),
  );
  if (!isRefused) throw unsupported("no_ranges", "a read beyond the end of an object succeeds");
}

async function probeRace(store: ObjectStore, key: string, { signal }: ProbeOptions): Promise<void> {
  const texts = Array.from({ length: racers }, (_, index) =>
    new TextEncoder().encode(`racer ${index} ${randomUUID()}`),
  );
  const race = texts.map(async (bytes) => await store.putIfAbsent(key, bytes, { signal }));
  const won = (await Promise.all(race)).flatMap((isWinner, index) => (isWinner ? [index] : []));
  if (won.length !== 1) {
    const what = `${won.length} of ${racers} writers that raced to create one object succeeded`;
    throw unsupported("no_conditional_create", what);
  }
  const found = await store.get(key, { signal });
  const late = await store.putIfAbsent(key, texts[won[0]], { signal });
  if (late || Buffer.compare(found, texts[won[0]]) !== 0) {
    throw unsupported("no_conditional_create", "a conditional create replaces an existing object");
  }
}

async function probeList(
  store: ObjectStore,
  prefix: string,
  keys: readonly string[],
  { signal }: ProbeOptions,
): Promise<void> {
  const listed: string[] = [];
  for await (const { key } of store.list(prefix, { signal })) listed.push(key);
  if (listed.join() !== keys.toSorted().join()) {
    throw unsupported("no_list", "a list does not show objects that were just written");
  }
}

async function isGone(
  store: ObjectStore,
  key: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    await store.head(key, { signal });
    return false;
  } catch (error) {
    if (hasCode(error, "NotFound")) return true;
    throw toSpoorError(error);
  }
}

function unsupported(reason: Reason, what: string): SpoorError {
  const message = `the bucket does not support an operation that commits need: ${what}`;
  return new SpoorError("InvalidInput", message, { reason });
}

/** The caller gets the error of the probe; the objects that stay are a few bytes. */
function ignoreCleanUpError(): void {}
