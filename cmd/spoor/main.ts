/** The program. spoor.js starts it after checking the version of Node. */
import { runCli } from "./cli.ts";
import { processIo } from "./io.ts";

const exitCode: number = await runCli(process.argv.slice(2), processIo());
process.exit(exitCode);
