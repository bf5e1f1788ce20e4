/** The rows of the table of modules (`modules.ts`) that a process runs. */

/** Names of all rows, in table order. */
export const moduleNames = [
  "span-log",
  "former-owners",
  "ingester",
  "compactor",
  "querier",
  "frontend",
  "http-port",
  "distributor",
  "heads",
  "receivers",
] as const;

export type ModuleName = (typeof moduleNames)[number];

/** Values of `--target` with their rows. */
export const targets: { all: typeof moduleNames } = { all: moduleNames };

export type Target = keyof typeof targets;

export function isTarget(name: string): name is Target {
  return Object.hasOwn(targets, name);
}

/** Rows with sockets, or with timers that do not use the clock: a simulation omits them. */
const outsideNames = ["former-owners", "http-port", "receivers"] as const;

export type InsideName = Exclude<ModuleName, (typeof outsideNames)[number]>;

/** The rows that a simulation starts. */
export const insideNames: readonly InsideName[] = moduleNames.filter(
  (name): name is InsideName => !(outsideNames as readonly string[]).includes(name),
);
