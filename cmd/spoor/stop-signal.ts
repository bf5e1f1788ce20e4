/** How a command hears that it shall end: the first SIGINT or SIGTERM, and the next one. */
import { type Clock, systemClock } from "#pkg/clock/clock.ts";

/**
 * Below npm one Ctrl-C arrives twice: the terminal sends it to the whole group of processes, and
 * npm hands it on. The same signal again within this time is no second wish.
 */
export const echoMs = 1000;

const names = ["SIGINT", "SIGTERM"] as const;
type StopName = (typeof names)[number];

/** Where signals come from: the process, and in tests an emitter. */
export interface SignalSource {
  on(name: string, listener: (name: NodeJS.Signals) => void): unknown;
  off(name: string, listener: (name: NodeJS.Signals) => void): unknown;
}

export interface StopHandlers {
  first: (name: NodeJS.Signals) => void;
  /** A signal after the first that is not its echo. Called for each. */
  again: (name: NodeJS.Signals) => void;
}

/** Calls the handlers as signals arrive, until the returned function is called. */
export function watchStopSignals(
  handlers: StopHandlers,
  source: SignalSource = process,
  clock: Clock = systemClock,
): () => void {
  let first: { name: NodeJS.Signals; atMs: number } | undefined;
  const onSignal = (name: NodeJS.Signals): void => {
    const atMs = clock.monotonicMs();
    if (first === undefined) {
      first = { name, atMs };
      handlers.first(name);
    } else if (name !== first.name || atMs - first.atMs >= echoMs) {
      handlers.again(name);
    }
  };
  const listen = (name: StopName): unknown => source.on(name, onSignal);
  names.forEach(listen);
  return () => names.forEach((name) => source.off(name, onSignal));
}

/** Aborts `signal` once; the next signal ends the process as usual. `release` stops listening. */
export function stopOnSignal(): { signal: AbortSignal; release: () => void } {
  const controller = new AbortController();
  const release = watchStopSignals({
    first: () => controller.abort(),
    again: (name) => {
      release();
      process.kill(process.pid, name);
    },
  });
  return { signal: controller.signal, release };
}
