/** The program. Started by spoor.js, which first makes sure that Node is new enough. */
import { runCli } from "./cli.ts";
import { processIo } from "./io.ts";

const exitCode: number = await runCli(process.argv.slice(2), processIo());
process.exit(exitCode);
