import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { eventually, expected, makeTrace, startIngester, TempFolder } from "./ingester.testing.ts";

it("a tenant with a damaged table is not served until the table can be read", async () => {
  await using folder = await TempFolder.make();
  const dir = folder.path;
  const first = await startIngester({ dir });
  const stored = { a: makeTrace(2, { partition: 0 }), b: makeTrace(2, { partition: 0 }) };
  await first.append("a", stored.a);
  await first.append("b", stored.b);
  await first.ingester.flush();
  const waiting = { a: makeTrace(3, { partition: 0 }), b: makeTrace(3, { partition: 0 }) };
  await first.append("a", waiting.a);
  await first.append("b", waiting.b);
  await first.stop();
  const commit = join(dir, "bucket", "a", "_delta_log", `${"0".repeat(20)}.json`);
  const whole = await readFile(commit);
  await writeFile(commit, "this is no JSON\n");

  const second = await startIngester({ dir });
  const { ingester } = second;
  expect([...ingester.failing.keys()]).toEqual(["a"]);
  expect(ingester.failing.get("a")).toContain("it is not JSON");
  expect([ingester.isTenantFailing("a"), ingester.isTenantFailing("b")]).toEqual([true, false]);
  expect(await second.metric("failing_tenants")).toBe(1);
  expect(await second.live("b", waiting.b)).toEqual(expected(waiting.b));
  expect(await second.incomplete("b")).toEqual([]);
  const [why] = await second.incomplete("a");
  expect(why).toContain("the newest spans wait in the log for the table");
  await ingester.flush();
  expect(await second.stored("b")).toEqual(expected(stored.b, waiting.b));
  // A record stays in the log until a table names its block.
  expect(second.spanLog.firstOffset(0)).toBe(2);

  await writeFile(commit, whole);
  await eventually(() => ingester.failing.size === 0 && ingester.isReady);
  expect(ingester.isTenantFailing("a")).toBe(false);
  await eventually(async () => (await second.incomplete("a")).length === 0);
  await second.readAll();
  expect(await second.live("a", waiting.a)).toEqual(expected(waiting.a));
  await ingester.flush();
  expect(await second.stored("a")).toEqual(expected(stored.a, waiting.a));
  expect(await second.stored("b")).toEqual(expected(stored.b, waiting.b));
  expect(second.spanLog.firstOffset(0)).toBe(4);
  expect(second.fatal).toEqual([]);
  await second.stop();
});
