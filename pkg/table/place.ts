/** Writes one commit at one version, and determines whether it is there. */
import type { Clock } from "#pkg/clock/clock.ts";
import { hasCode, SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";
import { checkSignal, type ObjectStore } from "#pkg/objstore/objstore.ts";

/** Maximum puts of the same bytes at the same version before the outcome is called unknown. */
export const putsMax = 5;
/** Pause after the first fault; doubles after each further one: 0.1 + 0.2 + 0.4 + 0.8 s. */
const firstPauseMs = 100;

export interface CommitPut {
  store: ObjectStore;
  clock: Clock;
  log: Log;
  key: string;
  /** Contain the commit's unique id, so equal bytes are our own commit. */
  bytes: Uint8Array;
  signal: AbortSignal | undefined;
}

/**
 * Writes the commit and returns "won" if `key` holds it, "lost" if `key` holds another commit.
 * Unless the create returned true, the object is read, because a refusal may stem from our own
 * earlier put whose response was lost (also inside a retrying store). If the object is absent, the
 * same bytes are put again at the same version only, because an earlier put may still take effect.
 *
 * Throws Canceled before the first put, InvalidInput if the store refuses the key, and Unavailable
 * or Canceled with reason "commit_outcome_unknown" for everything else.
 */
export async function putCommit(put: CommitPut): Promise<"won" | "lost"> {
  const { store, clock, log, key, bytes, signal } = put;
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
    log.warn({ key, puts, err: fault }, "outcome of a commit is unknown, trying again");
    if (puts === putsMax) throw unknownOutcome(put, puts, fault);
    try {
      await clock.sleep(firstPauseMs * 2 ** (puts - 1), signal);
    } catch (error) {
      throw unknownOutcome(put, puts, error);
    }
  }
}

function unknownOutcome(put: CommitPut, puts: number, cause: unknown): SpoorError {
  const message = `commit ${put.key}: outcome is unknown after ${puts} puts`;
  const code = put.signal?.aborted ? "Canceled" : "Unavailable";
  return new SpoorError(code, message, { reason: "commit_outcome_unknown", cause });
}
