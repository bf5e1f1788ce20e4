/** Report of a soak: problems, and figures for sizing. */
import { machine, percentile } from "#integration/bench/measure.ts";
import type { SoakResult } from "./soak.ts";
import type { Sample } from "./watch.ts";

/** Maximum ratio of the memory in the last third of a soak to that in the second third. */
const growthMax = 1.2;
/** In shorter runs growth means nothing: caches and compiled code still fill. */
const growthMinutesMin = 5;
const rssBytesMax = 6 * 1024 ** 3;

/** Returns one line per problem; empty if there is none. */
export function soakProblems(result: SoakResult): string[] {
  const problems: string[] = [];
  const { load, samples } = result;
  if (load.acknowledgedSpans !== load.sentSpans || result.loadExitCode !== 0) {
    problems.push(`${load.sentSpans - load.acknowledgedSpans} spans were not acknowledged`);
  }
  if (result.storedSpans !== load.acknowledgedSpans) {
    problems.push(`${load.acknowledgedSpans} spans acknowledged, ${result.storedSpans} stored`);
  }
  if (result.verifyExitCode !== 0) problems.push(`spoor verify: ${result.verifyText}`);
  if (result.serverExitCode !== 0) problems.push(`the server ended with ${result.serverExitCode}`);
  if (result.failedQueries > 0) problems.push(`${result.failedQueries} queries failed`);
  const most = mostRss(samples);
  if (most > rssBytesMax) problems.push(`${most} bytes of memory`);
  const growth = memoryGrowth(samples);
  if (growth !== undefined && growth > growthMax) {
    problems.push(`memory grew ${growth.toFixed(2)} times from the second third to the last`);
  }
  return problems;
}

/** Returns the ratio of peak memory, last third to second third; undefined for short runs. */
function memoryGrowth(samples: readonly Sample[]): number | undefined {
  const minutes = (samples.at(-1)!.atMs - samples[0].atMs) / 60_000;
  if (minutes < growthMinutesMin) return undefined;
  const third = Math.floor(samples.length / 3);
  return mostRss(samples.slice(2 * third)) / mostRss(samples.slice(third, 2 * third));
}

function mostRss(samples: readonly Sample[]): number {
  return Math.max(...samples.map(({ rssBytes }) => rssBytes));
}

/** Returns the figures of a soak, also per 1,000 spans/s. */
export function summaryLines(result: SoakResult): string[] {
  const { load, samples, spansPerSecond, blockBytes } = result;
  const seconds = (samples.at(-1)!.atMs - samples[0].atMs) / 1000;
  const cores = (samples.at(-1)!.cpuSeconds - samples[0].cpuSeconds) / seconds;
  const perThousand = spansPerSecond / 1000;
  const mebibytes = (bytes: number): string => (bytes / 1024 ** 2).toFixed(0);
  const lags = samples.map(({ eventLoopP99Seconds }) => eventLoopP99Seconds * 1000);
  const growth = memoryGrowth(samples);
  const bytesPerSpan = blockBytes / Math.max(1, result.storedSpans);
  const gibibytesPerDay = (bytesPerSpan * 1000 * 86_400) / 1024 ** 3;
  return [
    machine(),
    `${load.sentSpans} spans sent, ${load.acknowledgedSpans} acknowledged, ` +
      `${result.storedSpans} stored`,
    `${spansPerSecond} spans/s for ${seconds.toFixed(0)} s, ${result.queries} queries meanwhile, ` +
      `latency of requests p50 ${load.latencyMs.p50} ms, p99 ${load.latencyMs.p99} ms`,
    `memory: at most ${mebibytes(mostRss(samples))} MiB` +
      (growth === undefined ? "" : `, ratio of last third to second ${growth.toFixed(2)}`),
    `event-loop delay p99, per 5 s: median ${percentile(lags, 0.5).toFixed(1)} ms, ` +
      `99 % of them below ${percentile(lags, 0.99).toFixed(1)} ms   target: below 50 ms`,
    `per 1,000 spans/s: ${(cores / perThousand).toFixed(2)} cores, ` +
      `${gibibytesPerDay.toFixed(1)} GiB of blocks per day (${bytesPerSpan.toFixed(1)} bytes/span)`,
    `log: at most ${mebibytes(Math.max(...samples.map(({ logBytes }) => logBytes)))} MiB`,
  ];
}
