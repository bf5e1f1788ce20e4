/** Flags of the scripts that people run: a help text, and words instead of a stack. */
import { parseArgs, type ParseArgsOptionsConfig } from "node:util";

type Values<T extends ParseArgsOptionsConfig> = ReturnType<
  typeof parseArgs<{ options: T; args: string[] }>
>["values"];

/**
 * Parses the arguments of the process. `--help` prints the usage and ends the process; an unknown
 * flag does so too, with what is wrong and exit code 2.
 */
export function runFlags<T extends ParseArgsOptionsConfig>(usage: string, options: T): Values<T> {
  const args = process.argv.slice(2);
  if (args.includes("--help")) {
    process.stdout.write(`${usage}\n`);
    process.exit(0);
  }
  try {
    return parseArgs({ args, options }).values;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return wrongFlags(usage, message);
  }
}

/** Says what is wrong with the arguments, and ends the process with exit code 2. */
export function wrongFlags(usage: string, message: string): never {
  process.stderr.write(`${message}\n\n${usage}\n`);
  process.exit(2);
}
