/**
 * Measures conditions over one row group, and searches of a live head, which builds its columns for
 * each search: `node pkg/engine/condition/filter.bench.ts [spans]`. Prints medians of five runs in
 * milliseconds, on one thread, without reading from a store.
 */
import { Head } from "#pkg/columns/head.ts";
import { HeadBatch } from "#pkg/columns/head-batch.ts";
import { HeadDecoder } from "#pkg/columns/head-decode.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import { parseQuery } from "#pkg/traceql/traceql.ts";
import { evaluateFilter } from "./filter.ts";
import { listTraces } from "#pkg/engine/trace/list-traces.ts";
import { planQuery } from "./plan.ts";
import { type SpanSpec, traceDataOf } from "#pkg/engine/testing/spans.ts";

const runs = 5;
const spans = Number(process.argv[2] ?? 100_000);
const queries = [
  "{ true }",
  "{ span.http.status_code = 500 }",
  '{ name = "GET /7" && duration > 50ms }',
  '{ name =~ "GET /1.*" }',
  '{ span.order = "o-77" }',
  '{ .order =~ ".*77" }',
  "{ span.http.status_code + 1 > 500 }",
];

function specOf(i: number): SpanSpec {
  // Spans do not arrive in the order of their starts.
  const jitterNano = (i * 7919) % 5_000_011;
  const startNano = 1_700_000_000_000_000_000n + BigInt(i * 1000 + jitterNano);
  return {
    traceId: Math.floor(i / 10)
      .toString(16)
      .padStart(32, "0"),
    spanId: (i + 1).toString(16).padStart(16, "0"),
    service: `service-${i % 20}`,
    name: `GET /${i % 50}`,
    startNano,
    endNano: startNano + BigInt((i * 7919) % 100_000_000),
    attributes: { "http.status_code": BigInt(i % 100 === 0 ? 500 : 200), order: `o-${i}` },
  };
}

const head = new Head(7);
const decoder = new HeadDecoder(head);
for (let from = 0; from < spans; from += 1000) {
  const specs = Array.from({ length: Math.min(1000, spans - from) }, (_, i) => specOf(from + i));
  decoder.decode(encodeTraceData(traceDataOf(specs)));
}
const rows = Uint32Array.from({ length: head.rows }, (_, row) => row);
const data = head.freeze();
const batch = new HeadBatch(data, rows);
/** A range without the newest spans, so that each span has to be checked. */
const endNano = specOf(spans - spans / 100).startNano;
const range = { startNano: 0n, endNano, limit: 20 };

const table = queries.map((query) => {
  const { body } = parseQuery(query);
  const [stage] = body.kind === "pipeline" ? body.stages : [];
  if (stage?.kind !== "filter") throw new Error(`not one filter: ${query}`);
  let hits = 0;
  const filterMs = medianMs(() => {
    hits = evaluateFilter(batch, stage.expr).reduce((sum, hit) => sum + hit, 0);
  });
  const searchMs = medianMs(() => {
    listTraces(new HeadBatch(data, rows), { ...range, plan: planQuery(stage.expr) });
  });
  return { query, hits, filterMs, searchMs };
});
console.table(table);

/** Ignores the first run, which compiles code and may build columns. */
function medianMs(run: () => void): number {
  const times = Array.from({ length: runs + 1 }, () => {
    const started = performance.now();
    run();
    return performance.now() - started;
  });
  const sorted = times.slice(1).sort((a, b) => a - b);
  return Math.round(sorted[runs >> 1] * 100) / 100;
}
