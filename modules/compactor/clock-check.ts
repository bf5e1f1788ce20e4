/**
 * Compares this machine's clock with the bucket's: a wrong clock must not delete anyone's traces.
 */
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { ObjectStore, ReadOptions } from "#pkg/objstore/objstore.ts";

/** An object that each check writes anew; the store says when that was. */
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
  const message = `this clock says ${beforeMs}, the bucket's ${modifiedMs}: nothing is removed`;
  throw new SpoorError("Unavailable", message, { reason: "clock_skew" });
}
