/**
 * Pauses the real binary under load, lets a second process in another network namespace take over
 * its data folder, resumes the first process, and checks that every span that either process
 * acknowledged is stored exactly once. In one namespace the second process could not start.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { seededRandom } from "#integration/bench/dataset.ts";
import { type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import { CrashClient } from "./client.ts";
import { checkStored, checkTraces, type StoredCheck } from "./crash-checks.ts";
import { countSpans, crashConfig, lanes, pick } from "./crash.ts";

export interface PausedOptions {
  rounds: number;
  /** While no late answer was seen it goes on, to so many; `rounds` unless given. */
  roundsMax?: number;
  seed: number;
  /** An empty folder. */
  dir: string;
  onRound?: (round: PausedRound) => void;
}

export interface PausedRound {
  round: number;
  acknowledgedSpans: number;
  /** Number of responses of the first process after it resumed, by status. */
  lateResponses: Record<number, number>;
  /** Whether the second process found records that the first wrote after the take-over. */
  hasFenced: boolean;
  /** Whether a commit of the first process took effect late, so that the second process exited. */
  hasLateCommit: boolean;
}

export interface PausedResult extends StoredCheck {
  rounds: number;
  /** Rounds with `hasFenced`. */
  fencedRounds: number;
  /** Rounds with `hasLateCommit`. */
  lateCommits: number;
  lateResponses: Record<number, number>;
  problems: string[];
}

/** Longer than the owner's lock check (1 s) and the next owner's wait (5 s). */
const wakeMs = 7000;

export async function runPausedRounds(options: PausedOptions): Promise<PausedResult> {
  const dataDir = join(options.dir, "data");
  await mkdir(dataDir, { recursive: true });
  const random = seededRandom(options.seed);
  const client = new CrashClient(random);
  const problems: string[] = [];
  const lateResponses: Record<number, number> = {};
  let fencedRounds = 0;
  let lateCommits = 0;
  const { rounds, roundsMax = rounds } = options;
  const isOver = (done: number): boolean =>
    done >= roundsMax || (done >= rounds && Object.keys(lateResponses).length > 0);
  let round = 0;
  while (!isOver(round)) {
    round++;
    const done = await runRound({ dataDir, random, client, problems });
    if (done.hasFenced) fencedRounds++;
    if (done.hasLateCommit) lateCommits++;
    for (const [status, count] of Object.entries(done.lateResponses)) {
      lateResponses[Number(status)] = (lateResponses[Number(status)] ?? 0) + count;
    }
    const acknowledgedSpans = countSpans(client.acknowledged);
    options.onRound?.({ round, acknowledgedSpans, ...done });
  }
  const last = await startSpoorProcess({ dataDir, config: crashConfig });
  await last.ready();
  problems.push(...(await checkTraces(last, pick(random, client.acknowledged, 200))));
  await stopGracefully(last, problems);
  const stored = await checkStored(await openFsStore(join(dataDir, "bucket")), client.acknowledged);
  return { rounds: round, fencedRounds, lateCommits, lateResponses, problems, ...stored };
}

interface RoundParts {
  dataDir: string;
  random: () => number;
  client: CrashClient;
  problems: string[];
}

async function runRound({
  dataDir,
  random,
  client,
  problems,
}: RoundParts): Promise<Omit<PausedRound, "round" | "acknowledgedSpans">> {
  const first = await startSpoorProcess({ dataDir, config: crashConfig });
  await first.ready();
  problems.push(...(await checkTraces(first, pick(random, client.acknowledged, 40))));
  const load = new AbortController();
  const running = client.run(first.otlpHttp, lanes, load.signal);
  await sleep(300 + random() * 1200);
  first.signal("SIGSTOP");
  const second = await startSpoorProcess({ dataDir, config: crashConfig, ownNetwork: true });
  await untilPrinted(second, "\nready");
  client.responses = {};
  first.signal("SIGCONT");
  const code = await first.exited;
  load.abort();
  await running;
  if (code !== 1) problems.push(`the first process ended with exit code ${code}`);
  if (!first.log().includes("lost the lock")) problems.push("the first process lost no lock");
  // The second process looks for late records every few seconds.
  await sleep(random() * wakeMs);
  const secondCode = await second.stop();
  // A put that was in flight when the first process was paused cannot be cancelled. The second
  // process has its records in the log, too; it detects the commit and exits, to read the table
  // again.
  const hasLateCommit = secondCode === 1 && second.log().includes("transaction_changed");
  if (secondCode !== 0 && !hasLateCommit) {
    problems.push(`graceful stop ended with exit code ${secondCode}: ${second.log()}`);
  }
  const hasFenced = second.log().includes("fenced_records");
  return { lateResponses: client.responses, hasFenced, hasLateCommit };
}

async function stopGracefully(server: SpoorProcess, problems: string[]): Promise<void> {
  const code = await server.stop();
  if (code !== 0) problems.push(`graceful stop ended with exit code ${code}: ${server.log()}`);
}

async function untilPrinted(server: SpoorProcess, text: string): Promise<void> {
  while (!server.output().includes(text)) await sleep(20);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
