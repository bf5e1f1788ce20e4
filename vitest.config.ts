/**
 * Test projects: `unit` needs only Node and npm, `real` starts real components on loopback, `load`
 * needs all of the machine and comes after them, one file after the other. `long` has the full
 * depth of what the others sample.
 */
import "#cmd/spoor/compile-cache.js";
import { availableParallelism } from "node:os";
import { defineConfig, type ViteUserConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { TimesReporter, testTimesPath } from "#integration/test-times.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** How much of their depth tests of the first ring go into: 1, or more in `npm run test:long`. */
    depth: number;
  }
}

/** Tests that sample in `npm test` what they do at length in `npm run test:long`. */
const deepTests: readonly string[] = [
  "modules/frontend/http/{merge-wire,search}.test.ts",
  "pkg/query/testing/search-oracle.test.ts",
  "modules/ingester/store-faults.test.ts",
  "pkg/block/{block,chunk-decode}.test.ts",
  "pkg/block/verify/verify.test.ts",
  "pkg/parquet/page.test.ts",
  "pkg/columns/head.test.ts",
  "pkg/engine/condition/filter.test.ts",
  "pkg/otlp/{decode,split}.test.ts",
  "pkg/spanlog/{damage,file-log.model,format}.test.ts",
  "pkg/table/{checkpoint,table-chaos}.test.ts",
  "pkg/traceql/traceql.test.ts",
  "integration/bad-input-{files,log}.test.ts",
];

/** Files that take longest: they come first, so that no worker is alone with one at the end. */
const longest: readonly string[] = [
  "traceql/needle.real.test.ts",
  "crash/crash.real.test.ts",
  "crash/paused.real.test.ts",
  "image.real.test.ts",
  "lifecycle.test.ts",
  "bad-input-log.test.ts",
  "ingester/threads.test.ts",
  "condition/filter.test.ts",
  "crash/crash.test.ts",
  "integration/verify.test.ts",
  "bad-input-files.test.ts",
  "simulation.test.ts",
  "crash/aside.real.test.ts",
  "upgrade.real.test.ts",
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const place = longest.findIndex((name) => moduleId.endsWith(`/${name}`));
      return place < 0 ? longest.length : place;
    };
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}

const config: ViteUserConfig = defineConfig({
  test: {
    isolate: false,
    reporters: ["default", new TimesReporter(testTimesPath)],
    sequence: { sequencer: LongestFirst },
    // Many tests wait for a process or for a time: a third worker on two cores has what they leave.
    maxWorkers: Math.max(3, availableParallelism() - 1),
    // Of tests of one file that wait side by side (`concurrent`).
    maxConcurrency: 16,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    provide: { depth: 1 },
    setupFiles: ["integration/property-seed.ts"],
    // A machine may be busy: what comes in a moment may take some. A test has its own time limit.
    expect: { poll: { timeout: 30_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["{pkg,modules,cmd,integration}/**/*.test.ts"],
          exclude: ["**/*.{real,load,long}.test.ts", "**/node_modules/**"],
        },
      },
      {
        extends: true,
        test: {
          name: "real",
          include: ["integration/**/*.real.test.ts"],
          testTimeout: 1_200_000,
          hookTimeout: 1_200_000,
        },
      },
      {
        extends: true,
        test: {
          name: "load",
          include: ["integration/**/*.load.test.ts"],
          testTimeout: 1_200_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: "long",
          include: ["integration/**/*.long.test.ts"],
          testTimeout: 7_200_000,
          hookTimeout: 1_200_000,
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: {
          name: "deep",
          include: [...deepTests],
          provide: { depth: 10 },
          testTimeout: 3_600_000,
        },
      },
    ],
  },
});
export default config;
