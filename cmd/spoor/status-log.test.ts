import { Registry } from "prom-client";
import { expect, it } from "vitest";
import { openTestLog, TempDir } from "#pkg/spanlog/span-log.testing.ts";
import { observeSpanLog } from "./metrics.ts";
import { claimProblems, consumersTable } from "./status-log.ts";

it("a consumer that has lost its claim on the log is on the status page and in metrics", async () => {
  using dir = new TempDir();
  const slow = { name: "slow", recordsBehindMax: 4, bytesBehindMax: 1_000_000 };
  await using spanLog = await openTestLog(dir.path, { consumers: [slow] });
  const registry = new Registry();
  observeSpanLog(registry, spanLog);
  const rows = (): unknown[] => consumersTable({ spanLog }).rows.map((row) => row.toSpliced(2, 1));
  await spanLog.append(1, "acme", Buffer.from("one"));
  expect(rows()).toEqual([
    ["ingester", 1, "", 0],
    ["slow", 1, "", 0],
  ]);
  expect(claimProblems({ spanLog })).toEqual([]);
  for (const text of ["two", "three"]) await spanLog.append(1, "acme", Buffer.from(text));
  await spanLog.trim(1, 3, { acme: 3 });
  expect(rows()).toEqual([
    ["ingester", 0, "", 0],
    ["slow", 3, "1", 1],
  ]);
  expect(claimProblems({ spanLog })).toEqual([
    "Consumer slow of the span log was too far behind and misses records of partitions 1: " +
      "find out why it is slow.",
  ]);
  const text = await registry.metrics();
  expect(text).toContain('spoor_log_consumer_claims_lost_total{consumer="slow"} 1');
  expect(text).toContain('spoor_log_consumer_behind_records{consumer="slow"} 3');
  expect(text).toContain('spoor_log_consumer_claims_lost_total{consumer="ingester"} 0');
});
