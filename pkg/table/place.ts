/** Puts one commit at one version and finds out whether it is there (decisions 16). */
import type { Clock } from "#pkg/clock/clock.ts";
import { hasCode, SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import { checkSignal } from "#pkg/objstore/checks.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";

/** How often the same bytes are put at the same version before the outcome is called unknown. */
export const putsMax = 5;
/** Pause after the first fault, doubled after each next one: 0.1 + 0.2 + 0.4 + 0.8 s in all. */
const firstPauseMs = 100;

export interface Placement {
  store: ObjectStore;
  clock: Clock;
  log: Log;
  key: string;
  /** Holds the commit's unique id, so that equal bytes mean our own commit. */
  bytes: Uint8Array;
  signal: AbortSignal | undefined;
}

/**
 * "won": the commit is at `key`. "lost": another one is. Unless the store said yes, the version is
 * read: a refusal may come from our own earlier put, whose answer was lost on the way (also inside
 * a store that retries). Absent: the same bytes are put again at the same version, and nowhere
 * else, as an earlier put may still arrive.
 *
 * Throws Canceled before the first put, InvalidInput (the store refused the key), and everything
 * else with reason "commit_outcome_unknown".
 */
export async function placeCommit(placement: Placement): Promise<"won" | "lost"> {
  const { store, clock, log, key, bytes, signal } = placement;
  checkSignal(signal, `commit ${key}`);
  for (let puts = 1; ; puts++) {
    let fault: unknown;
    try {
      if (await store.putIfAbsent(key, bytes, { signal })) return "won";
    } catch (error) {
      if (hasCode(error, "InvalidInput") && puts === 1) throw error;
      fault = error;
    }
    try {
      const found = await store.get(key, { signal });
      return Buffer.compare(found, bytes) === 0 ? "won" : "lost";
    } catch (error) {
      if (!hasCode(error, "NotFound")) fault = error;
    }
    log.warn({ key, puts, err: fault }, "outcome of a commit is not known yet");
    if (puts === putsMax) throw unknownOutcome(placement, puts, fault);
    try {
      await clock.sleep(firstPauseMs * 2 ** (puts - 1), signal);
    } catch (error) {
      throw unknownOutcome(placement, puts, error);
    }
  }
}

function unknownOutcome(placement: Placement, puts: number, cause: unknown): SpoorError {
  const message = `commit ${placement.key}: outcome is unknown after ${puts} puts`;
  const code = placement.signal?.aborted ? "Canceled" : "Unavailable";
  return new SpoorError(code, message, { reason: "commit_outcome_unknown", cause });
}
