/**
 * Measures the log's CPU time per million spans: `node pkg/spanlog/file-log.bench.ts [records]
 * [partitions]`. A record is 35 KB for 95 spans; 64 appends are in flight at a time.
 */
import { randomFillSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#pkg/clock/clock.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { openFileLogReader } from "./file-log-reader.ts";
import { openFileLog } from "./file-log.ts";
import type { SpanLog } from "./span-log.ts";

const SPANS_PER_RECORD = 95;
const RECORD_BYTES = 35_000;
const RUNS = 5;

const records = Number(process.argv[2] ?? 10_526);
const partitionCount = Number(process.argv[3] ?? 4);
const dir = mkdtempSync(join(tmpdir(), "spanlog-bench-"));
try {
  const log = await openFileLog(dir, { clock: systemClock, log: openLog("warn"), partitionCount });
  const rows: Record<string, number>[] = [];
  for (let run = 0; run < RUNS; run++) {
    const from = Array.from({ length: partitionCount }, (_, i) => log.durableEnd(i));
    const append = await measure(() => appendAll(log, run));
    const read = await measure(() => Promise.resolve(readAll(log, from)));
    for (let p = 0; p < partitionCount; p++) await log.trim(p, log.durableEnd(p), {});
    rows.push({ ...named("append", append), ...named("read", read) });
  }
  console.table(rows);
  const { fsyncsTotal, groupsTotal } = log.stats();
  console.log({ records: records * RUNS, groupsTotal, fsyncsTotal });
  await log.close();
} finally {
  rmSync(dir, { recursive: true });
}

async function appendAll(log: SpanLog, run: number): Promise<void> {
  const body = randomFillSync(Buffer.alloc(RECORD_BYTES));
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < records) {
      const record = Buffer.from(body);
      record.writeUInt32LE(next, 0);
      record.writeUInt32LE(run, 4);
      await log.append(next++ % partitionCount, "acme", record);
    }
  };
  await Promise.all(Array.from({ length: 64 }, worker));
}

function readAll(log: SpanLog, from: readonly number[]): void {
  for (let p = 0; p < partitionCount; p++) {
    using reader = openFileLogReader(dir, p);
    const end = log.durableEnd(p);
    for (let next = from[p]; next < end;) {
      next = reader.read(next, end, { bytesMax: 4 * 1024 * 1024 }).nextOffset;
    }
  }
}

async function measure(job: () => Promise<void>): Promise<{ cpuS: number; wallS: number }> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await job();
  const { user, system } = process.cpuUsage(cpu);
  return { cpuS: (user + system) / 1e6, wallS: (performance.now() - start) / 1e3 };
}

/** Returns the times per million spans, to two digits. */
function named(
  what: string,
  { cpuS, wallS }: { cpuS: number; wallS: number },
): Record<string, number> {
  const millions = (records * SPANS_PER_RECORD) / 1e6;
  const round = (value: number): number => Math.round((value / millions) * 100) / 100;
  return { [`${what} CPU s`]: round(cpuS), [`${what} wall s`]: round(wallS) };
}
