/**
 * Kills the real binary under load, at random times and (with MinIO) at named points, and checks
 * that every acknowledged span is found exactly once. The seed determines the load and the times;
 * the timing of the machine still varies.
 */
import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { seededRandom } from "#integration/bench/dataset.ts";
import { type HttpProxy, startHttpProxy } from "#integration/parts/http-proxy.ts";
import { type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import { CrashClient, type SentTrace } from "./client.ts";
import type { CrashBucket } from "./crash-bucket.ts";
import { checkStored, checkTraces, type StoredCheck } from "./crash-checks.ts";
import { type KillPoint, killPoints, untilPoint } from "./kill-points.ts";

export interface CrashOptions {
  rounds: number;
  seed: number;
  /** An empty folder. */
  dir: string;
  /** Bucket for the blocks; undefined: a folder, and all rounds kill at random times. */
  bucket?: CrashBucket;
  onRound?: (round: CrashRound) => void;
}

export interface CrashRound {
  round: number;
  point: KillPoint;
  /** False if the point was not reached in time; the binary was killed nevertheless. */
  isReached: boolean;
  acknowledgedSpans: number;
}

export interface CrashResult extends StoredCheck {
  rounds: number;
  /** Kills at each point. */
  kills: Readonly<Record<KillPoint, number>>;
  /** Bytes of the log after all spans are in blocks, and the maximum over all rounds. */
  logBytes: number;
  logBytesMax: number;
  /** Problems of traces that were requested by id after a restart. */
  problems: string[];
}

/** Makes small heads, so that kills hit cuts and commits as often as the log. */
export const crashConfig: string = `
ingester:
  cut_spans: 400
  cut_age: 700ms
span_log:
  free_bytes_min: 1MiB
  segment_bytes_max: 256KiB
`;
export const lanes: number = 4;
/** Maximum starts of the binary: a bucket that was just started may refuse the first. */
const startsMax = 20;

export async function runCrashRounds(options: CrashOptions): Promise<CrashResult> {
  const run = new CrashRun(options);
  await mkdir(run.dataDir, { recursive: true });
  for (let round = 1; round <= options.rounds; round++) {
    // Not inside the optional call, which would not evaluate its argument without a listener.
    const done = await run.round(round);
    options.onRound?.(done);
  }
  return await run.finish();
}

class CrashRun {
  readonly dataDir: string;
  readonly #options: CrashOptions;
  readonly #random: () => number;
  readonly #client: CrashClient;
  readonly #kills = Object.fromEntries(killPoints.map((point) => [point, 0])) as Record<
    KillPoint,
    number
  >;
  readonly #problems: string[] = [];
  #logBytesMax = 0;

  constructor(options: CrashOptions) {
    this.dataDir = join(options.dir, "data");
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#client = new CrashClient(this.#random);
  }

  async round(round: number): Promise<CrashRound> {
    const { bucket } = this.#options;
    const points = bucket === undefined ? killPoints.slice(0, 1) : killPoints;
    const point = points[(round - 1) % points.length];
    let isReached = true;
    if (bucket === undefined) await this.#killAtRandom();
    else if (point === "recovery") isReached = await this.#killInRecovery(bucket);
    else isReached = await this.#killUnderLoad(bucket, point);
    if (isReached) this.#kills[point]++;
    this.#logBytesMax = Math.max(this.#logBytesMax, await folderBytes(this.#logDir));
    const acknowledgedSpans = countSpans(this.#client.acknowledged);
    return { round, point, isReached, acknowledgedSpans };
  }

  /** Waits until all spans are in blocks, and counts them. */
  async finish(): Promise<CrashResult> {
    const { bucket, rounds } = this.#options;
    const last = await this.#start();
    await last.ready();
    await this.#check(last, 200);
    const exitCode = await last.stop();
    if (exitCode !== 0) this.#problems.push(`graceful stop ended with exit code ${exitCode}`);
    const store = bucket?.store ?? (await openFsStore(join(this.dataDir, "bucket")));
    return {
      rounds,
      ...(await checkStored(store, this.#client.acknowledged)),
      kills: this.#kills,
      logBytes: await folderBytes(this.#logDir),
      logBytesMax: this.#logBytesMax,
      problems: this.#problems,
    };
  }

  get #logDir(): string {
    return join(this.dataDir, "log");
  }

  async #killAtRandom(): Promise<void> {
    const server = await this.#start();
    // Some rounds kill while the binary still replays its log.
    const isEarly = this.#random() < 0.2;
    if (!isEarly) {
      await server.ready();
      await this.#check(server, 40);
    }
    const load = new AbortController();
    const running = this.#client.run(server.otlpHttp, lanes, load.signal);
    const afterMs = this.#random() * (isEarly ? 60 : 1500);
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    await server.kill();
    load.abort();
    await running;
  }

  async #killUnderLoad(bucket: CrashBucket, point: KillPoint): Promise<boolean> {
    const server = await this.#start();
    await server.ready();
    await this.#check(server, 40);
    const front: HttpProxy = await startHttpProxy(server.otlpHttp);
    const load = new AbortController();
    const running = this.#client.run(front.address, lanes, load.signal);
    const random = this.#random;
    const isReached = await untilPoint({ point, bucket, front, random });
    await server.kill();
    load.abort();
    await front.stop();
    await running;
    bucket.proxy.clearTraps();
    return isReached;
  }

  /** Kills the binary before it listens, while it reads its tables. */
  async #killInRecovery(bucket: CrashBucket): Promise<boolean> {
    const { dataDir } = this;
    let pid: number | undefined;
    const onSpawn = (spawned: number): void => void (pid = spawned);
    const started = startSpoorProcess({ dataDir, config: this.#config, onSpawn }).then(
      async (server) => await server.kill(),
      expectStartFailure,
    );
    const point = "recovery";
    const at = { point, bucket, front: bucket.proxy, random: this.#random } as const;
    const isReached = await untilPoint(at);
    killIfRunning(pid);
    await started;
    bucket.proxy.clearTraps();
    return isReached;
  }

  get #config(): string {
    return crashConfig + (this.#options.bucket?.storageYaml ?? "");
  }

  async #start(): Promise<SpoorProcess> {
    for (let starts = 1; ; starts++) {
      try {
        return await startSpoorProcess({ dataDir: this.dataDir, config: this.#config });
      } catch (error) {
        if (this.#options.bucket === undefined || starts === startsMax) throw error;
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
    }
  }

  async #check(server: SpoorProcess, count: number): Promise<void> {
    const traces = pick(this.#random, this.#client.acknowledged, count);
    this.#problems.push(...(await checkTraces(server, traces)));
  }
}

/** The binary is killed before it listens, so its start is expected to fail. */
function expectStartFailure(): void {}

/** Kills a process, unless it has ended already. */
function killIfRunning(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

export function countSpans(traces: readonly SentTrace[]): number {
  return traces.reduce((sum, { spanIds }) => sum + spanIds.length, 0);
}

export function pick<T>(random: () => number, list: readonly T[], count: number): T[] {
  return Array.from({ length: Math.min(count, list.length) }, () => {
    return list[Math.floor(random() * list.length)];
  });
}

async function folderBytes(dir: string): Promise<number> {
  let total = 0;
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) total += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return total;
}
