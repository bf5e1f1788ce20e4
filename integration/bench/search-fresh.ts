/** Time from the answer to a request until TraceQL finds its span, while spans come in. */
import { setTimeout as sleep } from "node:timers/promises";
import { rm } from "node:fs/promises";
import { runSpoor, startSpoorProcess } from "#integration/parts/spoor.ts";
import { traceDataOf } from "#pkg/engine/testing/spans.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
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
  const server = await startSpoorProcess({ dataDir: dir, args: ["--log-level", "warn"] });
  try {
    await server.ready();
    const state = { isLoading: true };
    const flags = ["--spans-per-second", String(spansPerSecond), "--duration", `${seconds}s`];
    const load = runSpoor(["load", "--endpoint", server.otlpHttp, ...flags, "--json"], 120_000);
    const loaded = load.finally(() => (state.isLoading = false));
    const waits: number[] = [];
    for (let i = 0; state.isLoading; i++) {
      waits.push(await probe(server, i));
      await sleep(20);
    }
    const { stdout } = await loaded;
    const sent = JSON.parse(stdout) as { seconds: number; acknowledgedSpans: number };
    const taken = sent.acknowledgedSpans / sent.seconds;
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
