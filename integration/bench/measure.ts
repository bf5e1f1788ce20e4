/** Measuring: CPU of this process and of others, medians, the machine's description. */
import { readFileSync } from "node:fs";
import { cpus, totalmem, type } from "node:os";
import type { SpoorProcess } from "#integration/parts/spoor.ts";

/** CPU seconds that this process has used, all threads, user and system. */
export function ownCpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** CPU seconds of another process, from /proc; undefined when it is gone or there is no /proc. */
export function cpuSecondsOf(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // Fields after the command's name in parentheses; 14 and 15 are user and system, in 1/100 s.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return undefined;
  }
}

/**
 * Stops a server; resolves to the CPU seconds that it had used when it ended, of its whole life.
 * Rejects unless all spans are in blocks then.
 */
export async function stopAndCount(server: SpoorProcess): Promise<number> {
  let last = cpuSecondsOf(server.pid)!;
  const sampling = setInterval(() => (last = cpuSecondsOf(server.pid) ?? last), 10);
  const exitCode = await server.stop();
  clearInterval(sampling);
  if (exitCode !== 0) throw new Error(`server ended with ${exitCode}: ${server.log()}`);
  return last;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The value that this share of the values does not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)];
}

/** One line about machine and versions. */
export function machine(): string {
  const model = cpus()[0]?.model ?? "unknown processor";
  const gibibytes = Math.round(totalmem() / 1024 ** 3);
  return `${cpus().length} x ${model}, ${gibibytes} GiB, ${type()}, Node ${process.version}`;
}

export interface Row {
  name: string;
  /** One value per run. */
  values: number[];
  unit: string;
  /** What it should be at most, if there is an aim. */
  aim?: number;
}

/** Prints a row as median and range. */
export function formatRow({ name, values, unit, aim }: Row): string {
  const range = `${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)}`;
  const goal = aim === undefined ? "" : `   aim: at most ${aim}`;
  const value = median(values).toFixed(2).padStart(9);
  return `${name.padEnd(44)} ${value} ${unit.padEnd(18)} (${range}, ${values.length} runs)${goal}`;
}
