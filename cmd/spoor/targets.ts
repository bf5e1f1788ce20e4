/** Which rows of the table of modules (`modules.ts`) a process runs. */

/** In the order of the table. */
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

/** What `--target` can be. */
export const targets: { all: typeof moduleNames } = { all: moduleNames };

export type Target = keyof typeof targets;

export function isTarget(name: string): name is Target {
  return Object.hasOwn(targets, name);
}

/** Rows with sockets, or with timers that a clock cannot move: a simulation leaves them out. */
const outsideNames = ["former-owners", "http-port", "receivers"] as const;

export type InsideName = Exclude<ModuleName, (typeof outsideNames)[number]>;

/** All the others. */
export const insideNames: readonly InsideName[] = moduleNames.filter(
  (name): name is InsideName => !(outsideNames as readonly string[]).includes(name),
);
