/** Searches over many small blocks on local disk, through the real server, cold and warm. */
import { startSpoorProcess } from "#integration/parts/spoor.ts";
import type { BuiltBlocks } from "./blocks.ts";
import { median, percentile } from "./measure.ts";

const warmSearches = 40;

const queries: readonly string[] = [
  "{ }",
  "{ status = error }",
  '{ resource.service.name = "shop-service-7" && duration > 150ms }',
  '{ name =~ "POST /api/v1/(carts|users)/.*" }',
  '{ span.order.id = "order-1" }',
  '{ span.shop.coupon = "SPRING-7" && status = error }',
  "{ trace:duration > 10s }",
];

export interface SmallBench {
  built: BuiltBlocks;
  dataDir: string;
  runs: number;
  print: (line: string) => void;
}

export async function benchSmallBlocks({ built, dataDir, runs, print }: SmallBench): Promise<void> {
  print(
    `\n${built.spans} spans in ${built.files.length} blocks of ` +
      `${(built.sizeBytes / built.files.length / 1024).toFixed(0)} KiB; milliseconds`,
  );
  print(`cold: the first search of a fresh process; warm: the same again, ${warmSearches} times`);
  print(`${"cold".padStart(16)}${"warm p50".padStart(12)}${"warm p99".padStart(12)}   query`);
  for (const query of queries) {
    const cold: number[] = [];
    const warm: number[] = [];
    for (let run = 0; run < Math.min(runs, 3); run++) {
      const server = await startSpoorProcess({ dataDir, args: ["--log-level", "warn"] });
      await server.ready();
      cold.push(await timeOf(server.address, query));
      for (let i = 0; i < warmSearches; i++) warm.push(await timeOf(server.address, query));
      await server.stop();
    }
    const numbers = [median(cold), median(warm), percentile(warm, 0.99)];
    const [first, middle, last] = numbers.map((ms) => ms.toFixed(0));
    print(`${first.padStart(16)}${middle.padStart(12)}${last.padStart(12)}   ${query}`);
  }
}

async function timeOf(address: string, query: string): Promise<number> {
  const end = Math.floor(Date.now() / 1000) + 60;
  const params = new URLSearchParams({ q: query, start: String(end - 86_400), end: String(end) });
  const startedMs = performance.now();
  const response = await fetch(`${address}/api/search?${params.toString()}`);
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${query}: ${response.status} ${text}`);
  return performance.now() - startedMs;
}
