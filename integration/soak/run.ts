/** `npm run soak -- [--duration 1h] [--spans-per-second N]`: runs the soak, prints its figures. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runFlags } from "#integration/parts/run-flags.ts";
import { parseDuration } from "#pkg/config/duration.ts";
import { soakProblems, summaryLines } from "./report.ts";
import { runSoak } from "./soak.ts";

const usage = `npm run soak -- [--duration 1h] [--spans-per-second N]

  --duration D          how long (default 1h)
  --spans-per-second N  the load (default: what this machine takes at half its power)

Exit code 1 if anything was wrong.`;

const flags = runFlags(usage, {
  duration: { type: "string", default: "1h" },
  "spans-per-second": { type: "string" },
});
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const rate = flags["spans-per-second"];
const dir = await mkdtemp(join(tmpdir(), "spoor-soak-"));
try {
  const result = await runSoak({
    dir,
    durationMs: parseDuration(flags.duration),
    spansPerSecond: rate === undefined ? undefined : Number(rate),
    print,
  });
  for (const line of summaryLines(result)) print(line);
  const problems = soakProblems(result);
  for (const problem of problems) print(`PROBLEM: ${problem}`);
  process.exitCode = problems.length === 0 ? 0 : 1;
} finally {
  await rm(dir, { recursive: true, force: true });
}
