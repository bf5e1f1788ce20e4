/**
 * `npm run bench:search`: searches over 4 million spans in 8 blocks beside DuckDB on the same
 * files, over 1,000 small blocks, and while spans come in; sixty filters beside another commit.
 * README.md says what is measured.
 *
 *     npm run bench:search -- [--blocks 8] [--spans 500000] [--runs 5] [--dir FOLDER] [--only PART]
 *         [--against HEAD~1] [--match PATTERN]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { blocksIn } from "./blocks.ts";
import { machine } from "./measure.ts";
import { checkOutVersion } from "./other-version.ts";
import { benchBesideDuckdb } from "./search-duckdb.ts";
import { benchFilters } from "./search-filters.ts";
import { benchFresh } from "./search-fresh.ts";
import { benchSmallBlocks } from "./search-small.ts";

const { values: flags } = parseArgs({
  options: {
    blocks: { type: "string", default: "8" },
    spans: { type: "string", default: "500000" },
    "small-blocks": { type: "string", default: "1000" },
    runs: { type: "string", default: "5" },
    dir: { type: "string" },
    only: { type: "string" },
    against: { type: "string", default: "HEAD~1" },
    match: { type: "string", default: "" },
    "filter-blocks": { type: "string", default: "12" },
    "filter-spans": { type: "string", default: "100000" },
    "filter-runs": { type: "string", default: "15" },
  },
});
const runs = Number(flags.runs);

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function main(): Promise<void> {
  print(machine());
  const dir = flags.dir ?? (await mkdtemp(join(tmpdir(), "spoor-bench-")));
  const isWanted = (part: string): boolean => flags.only === undefined || flags.only === part;
  try {
    if (isWanted("duckdb")) {
      const size = { blocks: Number(flags.blocks), spansPerBlock: Number(flags.spans) };
      const dataDir = join(dir, "large");
      await benchBesideDuckdb({ built: await blocksIn(dataDir, size), dataDir, runs, print });
    }
    if (isWanted("small")) {
      const size = { blocks: Number(flags["small-blocks"]), spansPerBlock: 2000 };
      const dataDir = join(dir, "small");
      await benchSmallBlocks({ built: await blocksIn(dataDir, size), dataDir, runs, print });
    }
    if (isWanted("filters")) {
      const blocks = Number(flags["filter-blocks"]);
      const size = { blocks, spansPerBlock: Number(flags["filter-spans"]) };
      const dataDir = join(dir, "filters");
      const built = await blocksIn(dataDir, size);
      const codeDir = await mkdtemp(join(tmpdir(), "spoor-version-"));
      const against = { codeDir, version: await checkOutVersion(flags.against, codeDir) };
      const copies = join(dir, "filters-copies");
      const runs = Number(flags["filter-runs"]);
      const { match } = flags;
      await benchFilters({ built, dataDir, dir: copies, runs, against, match, print });
      await rm(codeDir, { recursive: true, force: true });
    }
    if (isWanted("fresh")) await benchFresh({ dir: join(dir, "fresh"), print });
  } finally {
    if (flags.dir === undefined) await rm(dir, { recursive: true, force: true });
  }
}

await main();
