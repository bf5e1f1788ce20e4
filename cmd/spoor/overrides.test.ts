import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Registry } from "prom-client";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ThreadWatch } from "#modules/ingester/ingester.testing.ts";
import { TenantLimits } from "#pkg/limits/tenant-limits.ts";
import { KeptLog } from "#pkg/spanlog/span-log.testing.ts";
import { Overrides } from "./overrides.ts";

let dir: string;
let path: string;
let limits: TenantLimits;
let log: KeptLog;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-overrides-"));
  path = join(dir, "overrides.yaml");
  limits = new TenantLimits();
  log = new KeptLog();
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

function overridesOf(): Overrides {
  return new Overrides({ path, pollMs: 3_600_000, env: {}, limits, log, registry: new Registry() });
}

function yamlOf(tenants: number, spans: number): string {
  const lines = Array.from({ length: tenants }, (_, i) => {
    return `  tenant-${i}: {spans_per_request_max: ${spans}}`;
  });
  return `tenants:\n${lines.join("\n")}\n`;
}

describe("the file of overrides", () => {
  it("is refused at once if it is a pipe, at the start and later", async () => {
    execFileSync("mkfifo", [path]);
    const atStart = overridesOf();
    await expect(atStart.start()).rejects.toThrow(`${path}: it is a pipe, not a regular file`);
    await rm(path);
    await writeFile(path, yamlOf(1, 5));
    const overrides = overridesOf();
    await overrides.start();
    await rm(path);
    execFileSync("mkfifo", [path]);
    await overrides.reload();
    expect(overrides.problem).toContain("a pipe");
    expect(limits.of("tenant-0").spansPerRequestMax).toBe(5);
    overrides.stop();
  });

  it("of many tenants is parsed on a thread of its own, a small one in place", async () => {
    using watch = new ThreadWatch();
    await writeFile(path, yamlOf(10, 5));
    const overrides = overridesOf();
    await overrides.start();
    expect([limits.overrides.size, watch.workers.length]).toEqual([10, 0]);
    await writeFile(path, yamlOf(2000, 7));
    await overrides.reload();
    expect([limits.overrides.size, watch.workers.length]).toEqual([2000, 1]);
    expect(limits.of("tenant-1999").spansPerRequestMax).toBe(7);
    // Its errors are reported like those of a small file.
    await writeFile(path, `${yamlOf(2000, 8)}  other: {spans_per_request: 1}\n`);
    await overrides.reload();
    expect(overrides.problem).toContain("spans_per_request");
    expect(limits.of("tenant-1999").spansPerRequestMax).toBe(7);
    overrides.stop();
  });
});
