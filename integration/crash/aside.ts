/**
 * Crash rounds for quarantined spans: valid requests whose content is hard to encode, and records
 * in quarantine that are retried. The rounds kill the server and `spoor quarantine retry`. No span
 * may be lost, duplicated, or left in quarantine.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { seededRandom } from "#integration/bench/dataset.ts";
import { runSpoor, type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import type { Span } from "#pkg/otlp/trace-data.ts";
import { singleTenant } from "#pkg/tenant/tenant-name.ts";
import { CrashClient, type SentRequest, type SentTrace } from "./client.ts";
import { checkStored, checkTraces, type StoredCheck } from "./crash-checks.ts";

export interface QuarantineOptions {
  rounds: number;
  seed: number;
  /** An empty folder. */
  dir: string;
  /** Distinct attribute keys of one request in every tenth round; the other rounds use 5%. */
  keys: number;
  onRound?: (round: number, acknowledgedSpans: number) => void;
}

export interface QuarantineResult extends StoredCheck {
  rounds: number;
  /** Runs of `quarantine retry` that were killed, and that completed. */
  killedRetries: number;
  wholeRetries: number;
  /** Files in the quarantine folder at the end. */
  leftInQuarantine: number;
  problems: string[];
}

const config = `
ingester: {cut_spans: 400, cut_age: 700ms}
span_log: {free_bytes_min: 1MiB, segment_bytes_max: 256KiB}
server: {shutdown: 2m}
`;
const lanes = 2;
const program: string = fileURLToPath(new URL("../../cmd/spoor/spoor.js", import.meta.url));

export async function runQuarantineRounds(options: QuarantineOptions): Promise<QuarantineResult> {
  const run = new QuarantineRun(options);
  await mkdir(run.quarantineDir, { recursive: true });
  for (let round = 1; round <= options.rounds; round++) {
    await run.round(round);
    options.onRound?.(round, run.acknowledgedSpans);
  }
  return await run.finish();
}

class QuarantineRun {
  readonly dataDir: string;
  readonly quarantineDir: string;
  readonly #options: QuarantineOptions;
  readonly #random: () => number;
  readonly #client: CrashClient;
  readonly #problems: string[] = [];
  /** File in quarantine -> its content. */
  readonly #quarantined = new Map<string, SentRequest>();
  /** Attribute keys that the next request still gets. */
  #keys = 0;
  #killedRetries = 0;
  #wholeRetries = 0;

  constructor(options: QuarantineOptions) {
    this.#options = options;
    this.dataDir = join(options.dir, "data");
    this.quarantineDir = join(this.dataDir, "quarantine", singleTenant);
    this.#random = seededRandom(options.seed);
    this.#client = new CrashClient(this.#random, (spans) => this.#addKeys(spans));
  }

  get acknowledgedSpans(): number {
    return this.#client.acknowledged.reduce((sum, { spanIds }) => sum + spanIds.length, 0);
  }

  async round(round: number): Promise<void> {
    const server = await this.#start();
    await server.ready();
    const acknowledged = await this.#outsideQuarantine();
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
    await this.#addQuarantined();
    await this.#retry();
  }

  /** Retries the remaining records, waits until all spans are in blocks, and counts them. */
  async finish(): Promise<QuarantineResult> {
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
      leftInQuarantine: (await readdir(this.quarantineDir)).length,
      problems: this.#problems,
    };
  }

  async #start(): Promise<SpoorProcess> {
    return await startSpoorProcess({ dataDir: this.dataDir, config });
  }

  /** Returns acknowledged traces without quarantined ones, which responses lack and report. */
  async #outsideQuarantine(): Promise<SentTrace[]> {
    const names = new Set(await readdir(this.quarantineDir));
    const quarantined = new Set<SentTrace>();
    for (const [name, { traces }] of this.#quarantined) {
      if (names.has(name)) for (const trace of traces) quarantined.add(trace);
    }
    return this.#client.acknowledged.filter((trace) => !quarantined.has(trace));
  }

  #addKeys(spans: Span[]): void {
    for (; this.#keys > 0; this.#keys--) {
      const key = `key.${this.#keys}.${Math.floor(this.#random() * 1e9)}`;
      const span = spans[this.#keys % spans.length];
      span.attributes.push({ key, value: { kind: "string", value: "v" } });
    }
  }

  /** Adds a record to the quarantine, as an earlier version with another log may have left it. */
  async #addQuarantined(): Promise<void> {
    const request = this.#client.make();
    const name = `${randomBytes(16).toString("hex")}-4-0-1.otlp`;
    await writeFile(join(this.quarantineDir, name), request.body);
    request.acknowledged = true;
    this.#quarantined.set(name, request);
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
