/** Time from the answer to a request until TraceQL finds its span, while spans come in. */
import { setTimeout as sleep } from "node:timers/promises";
import { rm } from "node:fs/promises";
import { startSpoorProcess } from "#integration/parts/spoor.ts";
import { traceDataOf } from "#pkg/engine/testing.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import { generateDataset } from "./dataset.ts";
import { sendHttp } from "./load.ts";
import { median, percentile } from "./measure.ts";

const spansPerSecond = 50_000;
const seconds = 20;

export async function benchFresh({
  dir,
  print,
}: {
  dir: string;
  print: (line: string) => void;
}): Promise<void> {
  const spreadNano = BigInt(seconds) * 1_000_000_000n;
  const startNano = BigInt(Date.now()) * 1_000_000n;
  const data = generateDataset({ spans: spansPerSecond * seconds, seed: 5, startNano, spreadNano });
  const server = await startSpoorProcess({ dataDir: dir, args: ["--log-level", "warn"] });
  try {
    await server.ready();
    const state = { isLoading: true };
    const load = paced(server.otlpHttp, data.requests).finally(() => (state.isLoading = false));
    const waits: number[] = [];
    for (let i = 0; state.isLoading; i++) waits.push(await probe(server, i));
    const taken = data.spans / (await load);
    print(
      `\nanswer to found by TraceQL: median ${median(waits).toFixed(0)} ms, ` +
        `p99 ${percentile(waits, 0.99).toFixed(0)} ms, ${waits.length} probes, while ` +
        `${taken.toFixed(0)} spans/s were taken in   aim: at most 1000 ms`,
    );
  } finally {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

/** Sends at an even pace; returns the seconds that it took. */
async function paced(address: string, requests: readonly Uint8Array[]): Promise<number> {
  const startedMs = performance.now();
  const perTick = Math.ceil(requests.length / (seconds * 20));
  for (let at = 0, tick = 0; at < requests.length; at += perTick, tick++) {
    const lateMs = performance.now() - startedMs - tick * 50;
    if (lateMs < 0) await sleep(-lateMs);
    await sendHttp(address, requests.slice(at, at + perTick), 4);
  }
  return (performance.now() - startedMs) / 1000;
}

async function probe(server: { address: string; otlpHttp: string }, i: number): Promise<number> {
  const startNano = BigInt(Date.now()) * 1_000_000n;
  const id = (i + 1).toString(16);
  const record = encodeTraceData(
    traceDataOf([
      {
        traceId: `5b${id.padStart(30, "0")}`,
        spanId: id.padStart(16, "0"),
        service: "probe",
        name: "probe",
        startNano,
        endNano: startNano + 1000n,
        attributes: { "probe.id": `probe-${i}` },
      },
    ]),
  );
  await sendHttp(server.otlpHttp, [record], 1);
  const query = new URLSearchParams({ q: `{ span.probe.id = "probe-${i}" }` }).toString();
  const startedMs = performance.now();
  for (;;) {
    const response = await fetch(`${server.address}/api/search?${query}`);
    const { traces = [] } = (await response.json()) as { traces?: unknown[] };
    if (traces.length > 0) return performance.now() - startedMs;
    if (performance.now() - startedMs > 30_000) throw new Error(`probe ${i} was not found`);
  }
}
