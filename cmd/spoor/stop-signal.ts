/** Stop signals of a command: the first SIGINT or SIGTERM, and later ones. */
import { type Clock, systemClock } from "#pkg/clock/clock.ts";

/**
 * Under npm, one Ctrl-C arrives twice: the terminal sends it to the whole process group, and npm
 * forwards it. The same signal again within this time counts as an echo, milliseconds.
 */
export const echoMs = 1000;

const names = ["SIGINT", "SIGTERM"] as const;
type StopName = (typeof names)[number];

/** The source of signals: the process; in tests an emitter. */
export interface SignalSource {
  on(name: string, listener: (name: NodeJS.Signals) => void): unknown;
  off(name: string, listener: (name: NodeJS.Signals) => void): unknown;
}

export interface StopHandlers {
  first: (name: NodeJS.Signals) => void;
  /** Called for each signal after the first that is not its echo. */
  again: (name: NodeJS.Signals) => void;
}

/** Calls the handlers for arriving signals until the caller calls the returned function. */
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

/** Returns an AbortSignal that the first signal aborts; the next one ends the process as usual. */
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
