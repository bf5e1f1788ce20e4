/**
 * Starts the rows of a table of modules in order, and stops running ones in reverse order. It knows
 * no module: `modules.ts` declares the rows.
 */
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";

/** A started row. */
export interface Started<T> {
  made: T;
  /** Stops it within `deadlineMs`; undefined if there is nothing to stop. */
  stop?: (deadlineMs: number) => Promise<unknown>;
}

/** One row of the table. `Made` maps a row's name to its result. */
export interface Row<Shared, Made> {
  name: keyof Made & string;
  /** Rows that must start before this one. It gets their results. */
  needs: readonly (keyof Made & string)[];
  start: (shared: Shared, needed: Made) => Promise<Started<Made[keyof Made & string]>>;
}

/** Returns a typed constructor of rows: a row's `start` gets only the results that it needs. */
export function rowMaker<Shared, Made>(): <
  Name extends keyof Made & string,
  Need extends keyof Made & string = never,
>(row: {
  name: Name;
  needs: readonly Need[];
  start: (shared: Shared, needed: Pick<Made, Need>) => Promise<Started<Made[Name]>>;
}) => Row<Shared, Made> {
  return (row) => row;
}

/** The running parts, in start order. */
export class RunningParts {
  readonly #clock: Clock;
  readonly #log: Log;
  #parts: { name: string; stop: (deadlineMs: number) => Promise<unknown> }[] = [];

  constructor({ clock, log }: { clock: Clock; log: Log }) {
    this.#clock = clock;
    this.#log = log;
  }

  add(name: string, stop: (deadlineMs: number) => Promise<unknown>): void {
    this.#parts.push({ name, stop });
  }

  get names(): string[] {
    return this.#parts.map(({ name }) => name);
  }

  /**
   * Stops the parts in reverse order, each within the remaining time of the deadline (milliseconds
   * for all parts). Logs a part that fails or is late, and continues. Never rejects.
   */
  async stop(deadlineMs: number): Promise<void> {
    const endMs = this.#clock.monotonicMs() + deadlineMs;
    const parts = this.#parts.toReversed();
    this.#parts = [];
    for (const { name, stop } of parts) {
      const leftMs = Math.max(leastStopMs, endMs - this.#clock.monotonicMs());
      try {
        if (await this.#isLate(stop(leftMs), leftMs)) {
          const fields = { part: name, waitedMs: Math.round(leftMs) };
          this.#log.warn(fields, "part did not stop in time");
        }
      } catch (error) {
        this.#log.error({ part: name, error: String(error) }, "part failed to stop");
      }
    }
  }

  /** Rejects as `stopping` does. */
  async #isLate(stopping: Promise<unknown>, leftMs: number): Promise<boolean> {
    const awake = new AbortController();
    const slept = this.#clock.sleep(leftMs, awake.signal).then(
      () => true,
      () => true,
    );
    try {
      return await Promise.race([stopping.then(() => false), slept]);
    } finally {
      awake.abort();
    }
  }
}

/** Least time for each part to stop, even after the deadline, milliseconds. */
const leastStopMs = 100;

/**
 * Starts the chosen rows in table order, adds each to `parts` and returns their results. If one
 * fails, stops the rows before it and throws its error. Throws InvalidInput `module_needs` before
 * any start if a row needs another one that is not chosen or comes later in the table.
 */
export async function startRows<Shared, Made, Name extends keyof Made & string>(
  table: readonly Row<Shared, Made>[],
  chosen: readonly Name[],
  { shared, parts }: { shared: Shared; parts: RunningParts },
): Promise<Pick<Made, Name>> {
  const rows = chosenRows(table, chosen);
  const made: Partial<Made> = {};
  try {
    for (const { name, start } of rows) {
      // `chosenRows` has checked that the needed rows come first.
      const started = await start(shared, made as Made);
      made[name] = started.made;
      parts.add(name, started.stop ?? (async () => undefined));
    }
  } catch (error) {
    await parts.stop(failedStartMs);
    throw error;
  }
  return made as Pick<Made, Name>;
}

/** How long a stop may take after a failed start, milliseconds. */
const failedStartMs = 5000;

function chosenRows<Shared, Made>(
  table: readonly Row<Shared, Made>[],
  chosen: readonly (keyof Made & string)[],
): Row<Shared, Made>[] {
  const rows = table.filter(({ name }) => chosen.includes(name));
  const before = new Set<string>();
  for (const { name, needs } of rows) {
    const missing = needs.filter((need) => !before.has(need));
    if (missing.length > 0) {
      const message =
        `start module ${name}: it needs ${missing.join(", ")}, ` +
        `before it there is ${[...before].join(", ") || "nothing"}`;
      throw new SpoorError("InvalidInput", message, { reason: "module_needs" });
    }
    before.add(name);
  }
  return rows;
}
