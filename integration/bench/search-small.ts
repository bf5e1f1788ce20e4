/** Searches over many small blocks on local disk, through the real server, cold and warm. */
import { startSpoorProcess } from "#integration/parts/spoor.ts";
import type { BuiltBlocks } from "./blocks.ts";
import { median, percentile } from "./measure.ts";

/** Searches after the first one of each process. */
const warmSearches = 20;

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
  print(`cold: the first search of a fresh process, ${runs} times; files are in the page cache`);
  print(`warm: the same again in each of them, ${warmSearches} times`);
  printRow(print, ["cold p50", "cold p99", "warm p50", "warm p99"], "query");
  for (const query of queries) {
    const cold: number[] = [];
    const warm: number[] = [];
    for (let run = 0; run < runs; run++) {
      const server = await startSpoorProcess({ dataDir, args: ["--log-level", "warn"] });
      try {
        await server.ready();
        cold.push(await timeOf(server.address, query));
        for (let i = 0; i < warmSearches; i++) warm.push(await timeOf(server.address, query));
      } finally {
        await server.stop();
      }
    }
    const figures = [cold, warm].flatMap((all) => [median(all), percentile(all, 0.99)]);
    printRow(
      print,
      figures.map((ms) => ms.toFixed(0)),
      query,
    );
  }
}

function printRow(print: SmallBench["print"], cells: readonly string[], query: string): void {
  print(`${cells.map((cell) => cell.padStart(10)).join("")}   ${query}`);
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
