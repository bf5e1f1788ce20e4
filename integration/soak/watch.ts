/** Samples a running server: memory, CPU, event-loop delay, disk. */
import { readFileSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { cpuSecondsOf } from "#integration/bench/measure.ts";
import { asAdmin, type SpoorProcess } from "#integration/parts/spoor.ts";

export interface Sample {
  atMs: number;
  rssBytes: number;
  cpuSeconds: number;
  /** p99 of the main thread since the last sample, seconds. */
  eventLoopP99Seconds: number;
  logBytes: number;
  headBytes: number;
}

/** Takes a sample every `intervalMs` until `stop`. */
export class Watch {
  readonly samples: Sample[] = [];
  readonly #server: SpoorProcess;
  readonly #onSample: (sample: Sample) => void;
  readonly #timer: NodeJS.Timeout;
  #sampling: Promise<void> = Promise.resolve();

  constructor(
    server: SpoorProcess,
    intervalMs: number,
    onSample: (sample: Sample) => void = () => undefined,
  ) {
    this.#server = server;
    this.#onSample = onSample;
    this.#timer = setInterval(() => {
      this.#sampling = this.#sampling.then(() => this.#take());
    }, intervalMs);
  }

  async stop(): Promise<Sample[]> {
    clearInterval(this.#timer);
    await this.#sampling;
    await this.#take();
    return this.samples;
  }

  async #take(): Promise<void> {
    const { address, pid } = this.#server;
    const text = await (await fetch(`${address}/metrics`, { headers: asAdmin })).text();
    const sample: Sample = {
      atMs: Date.now(),
      rssBytes: rssBytesOf(pid),
      cpuSeconds: cpuSecondsOf(pid) ?? 0,
      eventLoopP99Seconds: sumOf(text, "spoor_nodejs_eventloop_lag_p99_seconds"),
      logBytes: sumOf(text, "spoor_log_bytes"),
      headBytes: sumOf(text, "spoor_ingester_head_bytes"),
    };
    this.samples.push(sample);
    this.#onSample(sample);
  }
}

/** Returns the sum of a metric's values over all labels. */
export function sumOf(metrics: string, name: string): number {
  const pattern = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm");
  return [...metrics.matchAll(pattern)].reduce((sum, [, value]) => sum + Number(value), 0);
}

function rssBytesOf(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match![1]) * 1024;
}

/** Returns the bytes of all files below a folder. */
export async function folderBytes(dir: string): Promise<number> {
  let total = 0;
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) total += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return total;
}

export function formatSample(sample: Sample, startMs: number): string {
  const mebibytes = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(0)} MiB`;
  const seconds = ((sample.atMs - startMs) / 1000).toFixed(0).padStart(5);
  return (
    `${seconds} s  rss ${mebibytes(sample.rssBytes)}` +
    `  heads ${mebibytes(sample.headBytes)}  log ${mebibytes(sample.logBytes)}` +
    `  event loop p99 ${(sample.eventLoopP99Seconds * 1000).toFixed(1)} ms`
  );
}
