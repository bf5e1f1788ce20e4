/**
 * What cutting a head costs: CPU per million spans, bytes per span, and where they go.
 * `node integration/bench/cut.ts [spans] [rounds]`; the first rounds run uncompiled code.
 */
import { cutHead } from "#pkg/block/cut.ts";
import { footerRowGroups, readFooter } from "#pkg/block/footer.ts";
import { Head } from "#pkg/columns/head.ts";
import { HeadDecoder } from "#pkg/columns/head-decode.ts";
import { generateDataset } from "./dataset.ts";

const spans = Number(process.argv[2] ?? 100_000);
const rounds = Number(process.argv[3] ?? 5);
const columnsShown = 20;

/** CPU seconds per million spans of a function, and what it returns. */
function measured<T>(run: () => T): { seconds: string; result: T } {
  const before = process.cpuUsage();
  const result = run();
  const { user, system } = process.cpuUsage(before);
  return { seconds: ((user + system) / spans).toFixed(2), result };
}

const { requests } = generateDataset({
  spans,
  seed: 42,
  startNano: 1_763_800_000_000_000_000n,
  spreadNano: 60_000_000_000n,
});
const head = new Head(7);
const decoder = new HeadDecoder(head);
const decoding = measured(() => {
  for (const request of requests) decoder.decode(request);
});
console.log(`decode  ${decoding.seconds} CPU s per million spans`);
const data = head.freeze();

function cut(): ReturnType<typeof cutHead> {
  return cutHead(data, {
    rowGroupSpans: 100_000,
    plausibleFromNano: 0n,
    plausibleToNano: 2n ** 63n - 1n,
    partition: { index: 0, count: 1 },
    createdBy: "spoor bench",
    tableColumns: [],
  });
}

let block = cut();
for (let round = 0; round < rounds; round++) {
  const { seconds, result } = measured(cut);
  console.log(`cut     ${seconds} CPU s per million spans`);
  block = result;
}

const { bytes, indexOffset, footerOffset } = block;
const perSpan = (sizeBytes: number): string => (sizeBytes / spans).toFixed(2).padStart(6);
console.log(`${perSpan(bytes.length)} bytes per span, of these:`);
console.log(`${perSpan(footerOffset - indexOffset)} index section`);
console.log(`${perSpan(bytes.length - footerOffset)} footer`);
const columns = new Map<string, number>();
for (const group of footerRowGroups(readFooter(bytes).footer)) {
  for (const { name, sizeBytes } of group.columns) {
    columns.set(name, (columns.get(name) ?? 0) + sizeBytes);
  }
}
const largest = [...columns].sort((a, b) => b[1] - a[1]).slice(0, columnsShown);
for (const [name, sizeBytes] of largest) console.log(`${perSpan(sizeBytes)} ${name}`);
