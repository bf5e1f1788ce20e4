import { Registry } from "prom-client";
import { Querier } from "#modules/querier/querier.ts";
import { querierConfig } from "#modules/querier/config.ts";
import { searchNewest } from "#modules/frontend/search.ts";
import * as params from "#modules/frontend/params.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { openLog } from "#pkg/log/log.ts";
import { openFsStore } from "#pkg/objstore/fs.ts";
import { openTable } from "#pkg/table/table.ts";
import { AnswerPool } from "#modules/frontend/answer-pool.ts";
const root = "/tmp/plan/bench/filters/bucket";
const store = await openFsStore(root);
const log = openLog("silent");
const table = openTable({ store, tenant: "single-tenant", clock: systemClock, log });
const querier = new Querier({ config: querierConfig.parse({ threads: 1 }), store, storeConfig: { kind: "fs", root }, tableOf: () => table, clock: systemClock, log, registry: new Registry() });
const { signal } = new AbortController();
const live = { pin: async () => ({ heads: [], tableVersion: -1, incomplete: [], release: () => undefined }), ask: () => { throw new Error("x"); } } as never;
const answers = new AnswerPool();
const list = (process.argv[2] ? [process.argv[2]] : ["{ duration > 50ms }", '{ rootServiceName = "shop-service-7" }', '{ rootName = "GET /api/v1/orders/4" }', "{ trace:duration > 150ms }", "{ span:childCount > 12 }", "{ nestedSetParent < 0 && duration > 50ms }", "{ trace:duration > 100ms && status = error }", "{ }"]);
const runs = Number(process.argv[3] ?? 12);
const bounds = { tokensMax: 1e4 } as never;
for (const q of list) {
  const cpu: number[] = []; const main: number[] = []; const wall: number[] = [];
  let found = ""; let jobs = ""; 
  for (let i = 0; i < runs + 4; i++) {
    const parsed = (params as any).parseSearch(new URLSearchParams({ q, limit: "20" }), { searchLimitMax: 1000, spansPerTraceMax: 100, nowMs: Date.now() });
    const query = { tenant: "single-tenant", ...parsed, startNano: 0n, endNano: 2n ** 63n - 1n, limit: 20, spansPerTrace: 3, signal };
    const before = process.cpuUsage(); const t = performance.now(); const m = performance.eventLoopUtilization();
    const r = await searchNewest({ live, stored: querier }, query as never, { concurrency: 4, memoryBytesMax: 2 ** 28, jobBytesMax: 4 * 1024 * 1024, jobRowGroupsMax: 64, wholeTraces: answers.wholeTraces });
    const after = process.cpuUsage(before); const u = performance.eventLoopUtilization(m);
    found = r.traces.map((x) => x.traceId).join(); jobs = `${r.plan.jobs} jobs, ${r.stats.inspectedSpans} spans`;
    if (i >= 4) { cpu.push((after.user + after.system) / 1000); main.push(u.active); wall.push(performance.now() - t); }
  }
  const med = (x: number[]) => [...x].sort((a, b) => a - b)[x.length >> 1].toFixed(1).padStart(8);
  console.log("cpu", med(cpu), "main", med(main), "wall", med(wall), q, jobs, found.length);
}
await querier.stop(); await answers.close();
process.exit(0);
