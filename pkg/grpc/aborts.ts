/** Aborts of calls before their work is done. */
import { type Reason, SpoorError } from "#pkg/errors/errors.ts";

/** Longest delay of setTimeout. */
const timerMsMax = 2 ** 31 - 1;

/** Aborts with Timeout after `timeoutMs`. Returns the timer; undefined if it would never fire. */
export function abortAfter(
  abort: AbortController,
  timeoutMs: number,
  what: string,
  reason: Reason,
): NodeJS.Timeout | undefined {
  if (timeoutMs > timerMsMax) return undefined;
  return setTimeout(() => abort.abort(new SpoorError("Timeout", what, { reason })), timeoutMs);
}

/** Resolves like `running`, or rejects with the signal's reason if that aborts first. */
export async function orAborted<T>(running: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([running, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort!);
  }
}
