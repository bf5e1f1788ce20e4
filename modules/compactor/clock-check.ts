/**
 * Compares this machine's clock with the bucket's, because a wrong clock would delete traces.
 */
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { ObjectStore, ReadOptions } from "#pkg/objstore/objstore.ts";

/** An object that each check overwrites; the store's modification time is the bucket's clock. */
const probeKey = "_spoor/compactor-clock";

/** Throws Unavailable, "clock_skew", if the clocks differ by more than `skewMsMax`. */
export async function checkClock(
  store: ObjectStore,
  clock: Clock,
  skewMsMax: number,
  options: ReadOptions = {},
): Promise<void> {
  const beforeMs = clock.nowMs();
  await store.put(probeKey, Buffer.from(String(beforeMs)), options);
  const { modifiedMs } = await store.head(probeKey, options);
  const afterMs = clock.nowMs();
  if (modifiedMs >= beforeMs - skewMsMax && modifiedMs <= afterMs + skewMsMax) return;
  const difference = `this clock is at ${beforeMs} ms, the bucket's at ${modifiedMs} ms`;
  const message = `${difference}: nothing is removed until the clocks agree`;
  throw new SpoorError("Unavailable", message, { reason: "clock_skew" });
}
