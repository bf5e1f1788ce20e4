/** Checks of an overloaded server: no span is lost, duplicated or rejected, memory is bounded. */
import { readStored } from "#integration/parts/stored.ts";
import { loadTenant } from "#integration/parts/run-load.ts";
import type { OverloadResult } from "./soak.ts";

/** Limit of memory: heads, log and receivers are bounded to 320 MiB; the rest is code and WASM. */
const rssBytesMax: number = 2 * 1024 ** 3;

/** Returns one line per problem; empty if the server withstood the overload. */
export async function overloadProblems(result: OverloadResult): Promise<string[]> {
  const { load, samples, verify, serverExitCode, dataDir } = result;
  const { summary } = load;
  const pushedBack = Object.values(summary.refusedRequests).reduce((a, b) => a + b, 0);
  const rssBytes = samples.reduce((most, sample) => Math.max(most, sample.rssBytes), 0);
  const { counts } = await readStored(dataDir, loadTenant);
  const doubled = [...counts.values()].filter((count) => count > 1).length;
  const checks: [isWrong: boolean, problem: string][] = [
    [pushedBack === 0, "no request was told to retry"],
    [summary.rejectedSpans > 0, `${summary.rejectedSpans} spans were rejected`],
    [summary.givenUpSpans > 0, `the generator gave up ${summary.givenUpSpans} spans`],
    [load.code !== 0, `the generator ended with ${load.code}`],
    [rssBytes > rssBytesMax, `${rssBytes} bytes of memory`],
    [verify.text.includes("FAIL") || verify.code !== 0, `verify: ${verify.text}`],
    [serverExitCode !== 0, `the server ended with ${serverExitCode}`],
    [
      counts.size !== summary.acknowledgedSpans,
      `${counts.size} of ${summary.acknowledgedSpans} acknowledged spans are stored`,
    ],
    [doubled > 0, `${doubled} spans are stored twice`],
  ];
  return checks.filter(([isWrong]) => isWrong).map(([, problem]) => problem);
}
