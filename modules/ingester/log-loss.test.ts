import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { SpanSpec } from "#pkg/engine/testing/spans.ts";
import { expected, makeTrace, startIngester, TempFolder } from "./ingester.testing.ts";

/** The files of partition 0's records, oldest first. */
async function segments(dir: string): Promise<string[]> {
  const folder = join(dir, "log", "p0");
  const names = (await readdir(folder)).filter((name) => /^[\d-]+\.seg$/.test(name));
  return names.sort().map((name) => join(folder, name));
}

function records(count: number): SpanSpec[][] {
  return Array.from({ length: count }, () => makeTrace(2, { partition: 0 }));
}

describe("a log that is damaged", () => {
  it("in the middle: other records are found and stored, responses report the loss", async () => {
    await using folder = await TempFolder.make();
    const first = await startIngester({ dir: folder.path });
    const all = records(9);
    for (const one of all) await first.append("t", one);
    await first.stop();
    const [path] = await segments(folder.path);
    const bytes = await readFile(path);
    // The trace id of the fifth record.
    const at = bytes.indexOf(Buffer.from(all[4][0].traceId, "hex"));
    expect(at).toBeGreaterThan(0);
    bytes[at] ^= 0xff;
    await writeFile(path, bytes);
    const second = await startIngester({ dir: folder.path });
    const left = all.filter((_, i) => i !== 4);
    expect(await second.live("t", all.flat())).toEqual(expected(...left));
    const reason = "partition 0: 1 log records are damaged";
    expect(await second.incomplete("t")).toEqual([reason]);
    expect(second.messages()).toContain("log records are damaged, their spans are lost");
    expect(await second.metric("lost_records")).toBe(1);
    await second.ingester.flush();
    expect(await second.stored("t")).toEqual(expected(...left));
    expect(await second.incomplete("t")).toEqual([reason]);
    await second.stop();
    // When everything else is in blocks, responses report nothing more.
    const third = await startIngester({ dir: folder.path });
    expect(await third.incomplete("t")).toEqual([]);
    await third.stop();
  });

  it("at its end, restored from an older copy: new spans do not count as stored", async () => {
    await using folder = await TempFolder.make();
    const first = await startIngester({ dir: folder.path });
    const old = records(3);
    for (const one of old) await first.append("t", one);
    await first.stop();
    const copy = join(folder.path, "copy-of-log");
    await cp(join(folder.path, "log"), copy, { recursive: true });
    const second = await startIngester({ dir: folder.path });
    const between = records(4);
    for (const one of between) await second.append("t", one);
    await second.ingester.flush();
    await second.stop();
    await rm(join(folder.path, "log"), { recursive: true });
    await cp(copy, join(folder.path, "log"), { recursive: true });
    const third = await startIngester({ dir: folder.path });
    expect(third.messages()).toContain(
      "the log lost its end: tables are further, new records start at their offset",
    );
    expect(third.spanLog.durableEnd(0)).toBe(7);
    const later = records(2);
    for (const one of later) await third.append("t", one);
    await third.readAll();
    expect(await third.live("t", [...old, ...between, ...later].flat())).toEqual(
      expected(...later),
    );
    await third.ingester.flush();
    expect(await third.stored("t")).toEqual(expected(...old, ...between, ...later));
    expect(third.fatal).toEqual([]);
    await third.stop();
  });
});

describe("a table that lost commits", () => {
  it("is reported in query responses and logged at each start, and is used further", async () => {
    await using folder = await TempFolder.make();
    const first = await startIngester({ dir: folder.path });
    for (const tenant of ["kept", "gone"]) {
      for (const one of records(3)) await first.append(tenant, one);
    }
    await first.ingester.flush();
    await first.stop();
    await rm(join(folder.path, "bucket", "gone"), { recursive: true });
    const message = "the table lost commits: records that it had reached are no longer in the log";
    // Before the second start the log was trimmed again, without new records of the tenant.
    for (let start = 0; start < 2; start++) {
      const running = await startIngester({ dir: folder.path });
      const reported = running.log.lines.filter((line) => line.message === message);
      expect(reported.map(({ fields }) => fields.tenant)).toEqual(["gone"]);
      expect(await running.incomplete("gone")).toEqual([
        "partition 0: the table was set back by up to 6 log records",
      ]);
      expect(await running.incomplete("kept")).toEqual([]);
      await running.append("kept", makeTrace(1, { partition: 0 }));
      await running.ingester.flush();
      expect(running.spanLog.committed(0).get("gone")).toBe(6);
      await running.stop();
    }
    const last = await startIngester({ dir: folder.path });
    const fresh = makeTrace(2, { partition: 0 });
    await last.append("gone", fresh);
    await last.ingester.flush();
    expect(await last.stored("gone")).toEqual(expected(fresh));
    await last.stop();
    const after = await startIngester({ dir: folder.path });
    expect(await after.incomplete("gone")).toEqual([]);
    await after.stop();
  });

  it("that the log still has are stored again", async () => {
    await using folder = await TempFolder.make();
    const first = await startIngester({ dir: folder.path });
    const all = records(3);
    for (const one of all) await first.append("t", one);
    await first.stop();
    const copy = join(folder.path, "copy-of-log");
    await cp(join(folder.path, "log"), copy, { recursive: true });
    const second = await startIngester({ dir: folder.path });
    await second.ingester.flush();
    await second.stop();
    // Both are set back together, as by a restore of the whole disk.
    await rm(join(folder.path, "log"), { recursive: true });
    await cp(copy, join(folder.path, "log"), { recursive: true });
    await rm(join(folder.path, "bucket"), { recursive: true });
    const third = await startIngester({ dir: folder.path });
    expect(await third.incomplete("t")).toEqual([]);
    await third.ingester.flush();
    expect(await third.stored("t")).toEqual(expected(...all));
    await third.stop();
  });
});

it("after a restart the log forgets what was committed but not trimmed", async () => {
  await using folder = await TempFolder.make();
  const first = await startIngester({ dir: folder.path });
  for (const one of records(5)) await first.append("t", one);
  await first.stop();
  const copy = join(folder.path, "copy-of-log");
  await cp(join(folder.path, "log"), copy, { recursive: true });
  const second = await startIngester({ dir: folder.path });
  await second.ingester.flush();
  await second.stop();
  // Simulates a kill between commit and trim.
  await rm(join(folder.path, "log"), { recursive: true });
  await cp(copy, join(folder.path, "log"), { recursive: true });
  const third = await startIngester({ dir: folder.path });
  expect((await third.ingester.pin("t", new AbortController().signal)).heads).toEqual([]);
  await third.ingester.flush();
  expect(third.spanLog.firstOffset(0)).toBe(5);
  await third.stop();
});
