/** Ends a command's work at the first SIGINT or SIGTERM. */

/** Aborts `signal` once; the next signal ends the process as usual. `release` stops listening. */
export function stopOnSignal(): { signal: AbortSignal; release: () => void } {
  const controller = new AbortController();
  const names = ["SIGINT", "SIGTERM"] as const;
  const release = (): void => {
    for (const name of names) process.off(name, onSignal);
  };
  const onSignal = (): void => {
    release();
    controller.abort();
  };
  for (const name of names) process.on(name, onSignal);
  return { signal: controller.signal, release };
}
