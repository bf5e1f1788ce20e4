/** Calls that end before their work does. */
import { type Reason, SpoorError } from "#pkg/errors/errors.ts";

/** Longest that setTimeout can wait. */
const timerMsMax = 2 ** 31 - 1;

/** Aborts with a Timeout after a time; undefined where that is for ever. */
export function abortAfter(
  abort: AbortController,
  timeoutMs: number,
  what: string,
  reason: Reason,
): NodeJS.Timeout | undefined {
  if (timeoutMs > timerMsMax) return undefined;
  return setTimeout(() => abort.abort(new SpoorError("Timeout", what, { reason })), timeoutMs);
}

/** The result of `running`, or the reason of the abort if that comes first. */
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
