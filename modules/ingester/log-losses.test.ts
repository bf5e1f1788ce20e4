import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { eventually, expected, makeTrace, startIngester, TempFolder } from "./ingester.testing.ts";

it("a lost log whose last record was acknowledged but not stored is reported", async () => {
  await using folder = await TempFolder.make();
  const first = await startIngester({ dir: folder.path });
  await first.stop();
  await cp(join(folder.path, "log"), join(folder.path, "old-log"), { recursive: true });
  const running = await startIngester({ dir: folder.path });
  await running.append("a", makeTrace(2, { partition: 0 }));
  const late = makeTrace(3, { partition: 0 });
  running.faults = ({ key }) => (key.startsWith("b/") ? "before" : "none");
  await running.append("b", late);
  const flushed = running.ingester.flush().catch(() => "tenant b fails on purpose");
  await eventually(async () => (await running.stored("a")).length === 2);
  await running.stop();
  await flushed;
  await cp(join(folder.path, "log"), join(folder.path, "whole-log"), { recursive: true });

  // A new log replaces it.
  await rm(join(folder.path, "log"), { recursive: true });
  const other = await startIngester({ dir: folder.path });
  expect(other.ingester.losses).toHaveLength(1);
  expect(other.ingester.losses[0]).toContain("1 records that it had acknowledged are in no block");
  expect(await other.metric("missing_log_records_total")).toBe(1);
  expect(other.messages()).toContain("tables name a log that is missing");
  await other.stop();

  // The same log, without its end.
  await rm(join(folder.path, "log"), { recursive: true });
  await cp(join(folder.path, "old-log"), join(folder.path, "log"), { recursive: true });
  const old = await startIngester({ dir: folder.path });
  expect(old.ingester.losses).toHaveLength(1);
  expect(old.ingester.losses[0]).toContain("1 records are in no block");
  expect(await old.metric("missing_log_records_total")).toBe(1);
  await old.stop();

  // The complete log again: nothing is lost, and nothing is reported.
  await rm(join(folder.path, "log"), { recursive: true });
  await cp(join(folder.path, "whole-log"), join(folder.path, "log"), { recursive: true });
  const whole = await startIngester({ dir: folder.path });
  expect(whole.ingester.losses).toEqual([]);
  await whole.ingester.flush();
  expect(await whole.stored("b")).toEqual(expected(late));
  await whole.stop();
});
