/** Shared by commands with several actions: `spoor block ls`, `spoor quarantine retry` ... */
import { isTenantName } from "#pkg/tenant/tenant.ts";
import { type FlagSpec, flagText, type ParsedArgs, usageError } from "#cmd/spoor/flags.ts";
import { configFlags } from "#cmd/spoor/serve-args.ts";

/** The flags of a command that works on a data folder. */
export const folderFlags: readonly FlagSpec[] = configFlags.filter(({ name }) =>
  ["--config", "--data-dir"].includes(name),
);

export interface ChosenAction<A> {
  run: A;
  /** The arguments after the action. */
  names: string[];
  /** The value of `--tenant`. */
  tenant: string | undefined;
}

/** Returns the action that the arguments name. Throws a usage error. */
export function chooseAction<A>(
  command: string,
  parsed: ParsedArgs,
  actions: Readonly<Record<string, A>>,
): ChosenAction<A> {
  const [action, ...names] = parsed.positionals;
  if (action === undefined || !Object.hasOwn(actions, action)) {
    const known = Object.keys(actions).join("|");
    throw usageError(`${command}: the action is missing or unknown: spoor ${command} ${known}`);
  }
  const tenant = flagText(parsed, "--tenant");
  if (tenant !== undefined && !isTenantName(tenant)) {
    throw usageError(`${JSON.stringify(tenant)} is not a valid tenant name`);
  }
  return { run: actions[action], names, tenant };
}
