/**
 * Starts rows of a table of modules in their order, and stops what runs in reverse. It knows no
 * module: what the rows are stands in `modules.ts`.
 */
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";

/** What a row has started. */
export interface Started<T> {
  made: T;
  /** Told how long it may take, milliseconds; without it there is nothing to stop. */
  stop?: (deadlineMs: number) => Promise<unknown>;
}

/** One line of the table. `Made` has what each row makes under the row's name. */
export interface Row<Shared, Made> {
  name: keyof Made & string;
  /** Rows that must have started before this one, which gets what they made. */
  needs: readonly (keyof Made & string)[];
  start: (shared: Shared, needed: Made) => Promise<Started<Made[keyof Made & string]>>;
}

/** Returns the maker of a table's rows. A row's `start` sees only what the row says it needs. */
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

/** What runs, in the order of the start. */
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
   * Stops the parts, last first, each within what is left of the deadline (milliseconds for all of
   * them). A part that fails or is late is logged, and the next one has its turn. Never rejects.
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

/** Each part gets so much of the time to stop, also after the deadline. */
const leastStopMs = 100;

/**
 * Starts the chosen rows in the order of the table, adds each to `parts`, and returns what they
 * made. When one fails, those before it are stopped and its error is thrown. InvalidInput
 * `module_needs` before anything is started if a row needs another one that is not chosen or does
 * not stand before it.
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
      // The rows that it needs have been checked to be there.
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

/** How long stopping may take after a start that failed. */
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
