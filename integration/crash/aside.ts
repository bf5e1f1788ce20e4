/**
 * Crash rounds about spans that could not become a block: valid requests with content that is hard
 * to encode, and records in quarantine that are put back, with kills of the server and of
 * `spoor quarantine retry`. Nothing may be lost, doubled, or left in quarantine.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { seededRandom } from "#integration/bench/dataset.ts";
import { runSpoor, type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";
import { openFsStore } from "#pkg/objstore/fs.ts";
import type { Span } from "#pkg/otlp/otlp.ts";
import { singleTenant } from "#pkg/tenant/tenant.ts";
import { CrashClient, type SentRequest, type SentTrace } from "./client.ts";
import { checkStored, checkTraces, type StoredCheck } from "./crash-checks.ts";

export interface AsideOptions {
  rounds: number;
  seed: number;
  /** An empty folder. */
  dir: string;
  /** Distinct keys of one request in ten rounds; of one in each other round, a twentieth. */
  keys: number;
  onRound?: (round: number, acknowledgedSpans: number) => void;
}

export interface AsideResult extends StoredCheck {
  rounds: number;
  /** Runs of `quarantine retry` that were killed, and that ended by themselves. */
  killedRetries: number;
  wholeRetries: number;
  /** Files that are in the quarantine folder at the end. */
  leftAside: number;
  problems: string[];
}

const config = `
ingester: {cut_spans: 400, cut_age: 700ms}
span_log: {free_bytes_min: 1MiB, segment_bytes_max: 256KiB}
server: {shutdown: 2m}
`;
const lanes = 2;
const program: string = fileURLToPath(new URL("../../cmd/spoor/spoor.js", import.meta.url));

export async function runAsideRounds(options: AsideOptions): Promise<AsideResult> {
  const run = new AsideRun(options);
  await mkdir(run.asideDir, { recursive: true });
  for (let round = 1; round <= options.rounds; round++) {
    await run.round(round);
    options.onRound?.(round, run.acknowledgedSpans);
  }
  return await run.finish();
}

class AsideRun {
  readonly dataDir: string;
  readonly asideDir: string;
  readonly #options: AsideOptions;
  readonly #random: () => number;
  readonly #client: CrashClient;
  readonly #problems: string[] = [];
  /** File in quarantine -> what is in it. */
  readonly #aside = new Map<string, SentRequest>();
  /** Keys that the next request gets. */
  #keys = 0;
  #killedRetries = 0;
  #wholeRetries = 0;

  constructor(options: AsideOptions) {
    this.#options = options;
    this.dataDir = join(options.dir, "data");
    this.asideDir = join(this.dataDir, "quarantine", singleTenant);
    this.#random = seededRandom(options.seed);
    this.#client = new CrashClient(this.#random, (spans) => this.#addKeys(spans));
  }

  get acknowledgedSpans(): number {
    return this.#client.acknowledged.reduce((sum, { spanIds }) => sum + spanIds.length, 0);
  }

  async round(round: number): Promise<void> {
    const server = await this.#start();
    await server.ready();
    const acknowledged = await this.#notAside();
    const sample = Array.from({ length: Math.min(20, acknowledged.length) }, () => {
      return acknowledged[Math.floor(this.#random() * acknowledged.length)];
    });
    for (const problem of await checkTraces(server, sample)) this.#problems.push(problem);
    const load = new AbortController();
    const { keys } = this.#options;
    this.#keys = round % 10 === 1 ? keys : Math.ceil(keys / 20);
    const running = this.#client.run(server.otlpHttp, lanes, load.signal);
    await sleep(this.#random() * 1500);
    await server.kill();
    load.abort();
    await running;
    await this.#setAside();
    await this.#retry();
  }

  /** Everything that is left is put back and becomes blocks; then it is counted. */
  async finish(): Promise<AsideResult> {
    const { code, stderr } = await runSpoor(this.#retryArgs);
    if (code !== 0) this.#problems.push(`quarantine retry ended with ${code}: ${stderr}`);
    const last = await this.#start();
    await last.ready();
    const exitCode = await last.stop();
    if (exitCode !== 0) this.#problems.push(`graceful stop ended with exit code ${exitCode}`);
    const store = await openFsStore(join(this.dataDir, "bucket"));
    return {
      rounds: this.#options.rounds,
      ...(await checkStored(store, this.#client.acknowledged)),
      killedRetries: this.#killedRetries,
      wholeRetries: this.#wholeRetries,
      leftAside: (await readdir(this.asideDir)).length,
      problems: this.#problems,
    };
  }

  async #start(): Promise<SpoorProcess> {
    return await startSpoorProcess({ dataDir: this.dataDir, config });
  }

  /** Acknowledged traces but for those in quarantine, which answers lack and say so. */
  async #notAside(): Promise<SentTrace[]> {
    const names = new Set(await readdir(this.asideDir));
    const aside = new Set<SentTrace>();
    for (const [name, { traces }] of this.#aside) {
      if (names.has(name)) for (const trace of traces) aside.add(trace);
    }
    return this.#client.acknowledged.filter((trace) => !aside.has(trace));
  }

  #addKeys(spans: Span[]): void {
    for (; this.#keys > 0; this.#keys--) {
      const key = `key.${this.#keys}.${Math.floor(this.#random() * 1e9)}`;
      const span = spans[this.#keys % spans.length];
      span.attributes.push({ key, value: { kind: "string", value: "v" } });
    }
  }

  /** A record as an earlier version, with another log, may have left it. */
  async #setAside(): Promise<void> {
    const request = this.#client.make();
    const name = `${randomBytes(16).toString("hex")}-4-0-1.otlp`;
    await writeFile(join(this.asideDir, name), request.body);
    request.acknowledged = true;
    this.#aside.set(name, request);
  }

  get #retryArgs(): string[] {
    return ["quarantine", "retry", "--data-dir", this.dataDir];
  }

  async #retry(): Promise<void> {
    const child = spawn(process.execPath, [program, ...this.#retryArgs], { stdio: "ignore" });
    const ended = new Promise<boolean>((resolve) =>
      child.once("exit", (code) => resolve(code === 0)),
    );
    const timer = setTimeout(() => child.kill("SIGKILL"), 200 + this.#random() * 600);
    if (await ended) this.#wholeRetries++;
    else this.#killedRetries++;
    clearTimeout(timer);
  }
}

async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
