import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, inject } from "vitest";
import type { Clock } from "#pkg/clock/clock.ts";
import type { SpanSpec } from "#pkg/engine/testing/spans.ts";
import { type FaultPlan, failNth } from "#pkg/objstore/fault.testing.ts";
import {
  eventually,
  expected,
  makeTrace,
  quickClock,
  startIngester,
  TempFolder,
  type TestIngester,
} from "./ingester.testing.ts";

const allFail: FaultPlan = () => "before";
const commitsFail: FaultPlan = ({ kind }) => (kind === "putIfAbsent" ? "before" : "none");
/** Commits take effect, but every response is lost. */
const answersLost: FaultPlan = ({ kind, key }) =>
  kind === "putIfAbsent" ? "after" : kind === "get" && key.endsWith(".json") ? "before" : "none";

/** One trace per partition. */
function tracesOverAll(spanCount: number): SpanSpec[] {
  return [0, 1, 2, 3].flatMap((partition) => makeTrace(spanCount, { partition }));
}

/** Replaces a folder of the bucket by a file: nothing can be written below it. */
async function block(path: string): Promise<() => Promise<void>> {
  const parent = join(path, "..");
  await mkdir(parent, { recursive: true });
  const hasOld = (await readdir(parent)).includes(path.slice(parent.length + 1));
  if (hasOld) await rename(path, `${path}-away`);
  await writeFile(path, "in the way");
  return async () => {
    await rm(path);
    if (hasOld) await rename(`${path}-away`, path);
  };
}

describe("a store that fails for a while", () => {
  it.each([
    ["answers nothing", allFail],
    ["refuses commits", commitsFail],
    ["commits and loses every answer", answersLost],
  ])("%s: spans stay live, then are stored once", async (_, plan) => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path, config: { cutSpans: 10 } });
    running.faults = plan;
    const specs = Array.from({ length: 5 }, () => tracesOverAll(12)).flat();
    await running.append("t", specs);
    await running.readAll();
    await eventually(async () => (await running.metric("store_failures_total")) > 8);
    expect(await running.live("t", specs)).toEqual(expected(specs));
    expect(running.messages()).toContain("a head could not be stored, retrying");
    running.faults = () => "none";
    await running.ingester.flush();
    expect(await running.stored("t")).toEqual(expected(specs));
    expect(await running.live("t", specs)).toEqual([]);
    expect(running.fatal).toEqual([]);
    // Each block and span is counted once, for any number of attempts.
    const { files } = await running.openTable("t").refresh();
    expect(await running.metric("blocks_total")).toBe(files.size);
    expect(await running.metric("block_spans_total")).toBe(specs.length);
    await running.stop();
  });

  it("any one call, before or after its effect: nothing is lost or stored twice", async () => {
    const hit = new Set<string>();
    for (const fault of ["before", "after"] as const) {
      let wasHit = true;
      for (let nth = 1; wasHit; nth += inject("depth") === 1 ? 2 : 1) {
        await using folder = await TempFolder.make();
        const running = await startIngester({ dir: folder.path, faultyUploads: true });
        const specs = [...makeTrace(3, { partition: 0 }), ...makeTrace(3, { partition: 1 })];
        await running.append("t", specs);
        let calls = 0;
        wasHit = false;
        running.faults = (call) => {
          const decided = failNth(nth, fault)({ ...call, index: ++calls });
          wasHit ||= decided !== "none";
          if (decided !== "none") hit.add(call.kind);
          return decided;
        };
        await running.ingester.flush();
        expect(running.fatal).toEqual([]);
        expect(await running.stored("t")).toEqual(expected(specs));
        await running.stop();
      }
    }
    // Blocks use `put`, commits use `create`.
    expect([...hit]).toEqual(expect.arrayContaining(["put", "putIfAbsent"]));
  });

  it("blocks cannot be uploaded: retried, and stored when the store works", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path, config: { cutSpans: 5 } });
    const unblock = await block(join(folder.path, "bucket", "t", "blocks"));
    const specs = tracesOverAll(6);
    await running.append("t", specs);
    await eventually(async () => (await running.metric("store_failures_total")) > 4);
    expect(await running.live("t", specs)).toEqual(expected(specs));
    await unblock();
    await running.ingester.flush();
    expect(await running.stored("t")).toEqual(expected(specs));
    expect(await running.quarantined("t")).toEqual(new Map());
    await running.stop();
  });

  it.each(["refused", "unknown"])(
    "for hours (%s): old blocks are written anew",
    async (outcome) => {
      await using folder = await TempFolder.make();
      let laterMs = 0;
      const clock: Clock = { ...quickClock, nowMs: () => Date.now() + laterMs };
      const running = await startIngester({ dir: folder.path, clock });
      const specs = makeTrace(3, { partition: 0 });
      await running.append("t", specs);
      running.faults = outcome === "refused" ? commitsFail : answersLost;
      const flushed = running.ingester.flush();
      await eventually(async () => (await running.metric("store_failures_total")) > 1);
      const blocks = join(folder.path, "bucket", "t", "blocks");
      const written = await readdir(blocks, { recursive: true, withFileTypes: true });
      const [first] = written.filter((entry) => entry.isFile());
      laterMs = 45 * 60_000;
      // An attempt that began before that time may still commit; an attempt that begins now may
      // not.
      const failures = await running.metric("store_failures_total");
      await eventually(async () => (await running.metric("store_failures_total")) > failures + 1);
      // Deletes the block as the clean-up would: no commit names it.
      if (outcome === "refused") await rm(join(first.parentPath, first.name));
      running.faults = () => "none";
      await flushed;
      expect(await running.stored("t")).toEqual(expected(specs));
      expect(running.fatal).toEqual([]);
      const { files } = await running.openTable("t").refresh();
      const isFirst = [...files.keys()].some((path) => path.endsWith(first.name));
      expect(isFirst).toBe(outcome === "unknown");
      await running.stop();
    },
  );

  it("until the stop: flush fails, and the next start stores everything", async () => {
    await using folder = await TempFolder.make();
    const first = await startIngester({ dir: folder.path });
    const specs = tracesOverAll(4);
    await first.append("t", specs);
    first.faults = allFail;
    const flushed = first.ingester.flush().then(
      () => "flushed",
      (error: { code: string }) => error.code,
    );
    await eventually(async () => (await first.metric("store_failures_total")) > 4);
    await first.stop();
    expect(await flushed).toBe("Unavailable");
    const second = await startIngester({ dir: folder.path });
    expect(await second.live("t", specs)).toEqual(expected(specs));
    await second.ingester.flush();
    expect(await second.stored("t")).toEqual(expected(specs));
    await second.stop();
  });

  it("for one tenant: only this tenant is refused, and accepted again afterwards", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path, config: { cutSpans: 5 } });
    const { ingester } = running;
    const unblock = await block(join(folder.path, "bucket", "bad"));
    const bad: SpanSpec[] = [];
    const good: SpanSpec[] = [];
    await eventually(async () => {
      const more = { bad: tracesOverAll(6), good: tracesOverAll(6) };
      bad.push(...more.bad);
      good.push(...more.good);
      await running.append("bad", more.bad);
      await running.append("good", more.good);
      await running.readAll();
      return ingester.isTenantFailing("bad");
    });
    expect(ingester.isTenantFailing("good")).toBe(false);
    expect(ingester.isTenantFailing("unknown")).toBe(false);
    expect(await running.live("bad", bad)).toEqual(expected(bad));
    await unblock();
    await ingester.flush();
    expect(ingester.isTenantFailing("bad")).toBe(false);
    expect(await running.stored("bad")).toEqual(expected(bad));
    expect(await running.stored("good")).toEqual(expected(good));
    await running.stop();
  });

  it("for all tenants: none is refused, the log accepts records", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path, config: { cutSpans: 5 } });
    running.faults = allFail;
    const requests = Array.from({ length: 10 }, () => tracesOverAll(6));
    const specs = requests.flat();
    for (const request of requests) {
      await running.append("a", request);
      await running.append("b", request);
    }
    await running.readAll();
    await eventually(async () => (await running.metric("store_failures_total")) > 20);
    expect(running.ingester.isTenantFailing("a")).toBe(false);
    expect(running.ingester.isTenantFailing("b")).toBe(false);
    running.faults = () => "none";
    await running.ingester.flush();
    expect(await running.stored("a")).toEqual(expected(specs));
    expect(await running.stored("b")).toEqual(expected(specs));
    await running.stop();
  });
});

describe("another writer", () => {
  /** Moves the table's transaction of partition 0, as a second process with the same log would. */
  async function commitAsOther(running: TestIngester, version: number): Promise<void> {
    const table = running.openTable("t");
    const { transactions } = await table.refresh();
    const appId = running.appId(0);
    const expectedVersion = transactions.get(appId);
    await table.commit({
      transaction: { appId, expectedVersion, version },
      operation: "WRITE",
      dataChange: true,
    });
  }

  it.each(["before its first commit", "between two commits"])("%s ends this one", async (when) => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path, config: { cutSpans: 5 } });
    const first = makeTrace(6, { partition: 0 });
    if (when === "between two commits") {
      await running.append("t", first);
      await running.ingester.flush();
    }
    await commitAsOther(running, 1000);
    // A refresh of the shared table by another reader must not move this writer's offset.
    const others = tracesOverAll(6);
    for (let i = 0; i < 4; i++) await running.append("t", tracesOverAll(6));
    await running.append("t", others);
    await expect(running.ingester.flush()).rejects.toMatchObject({ code: "Unavailable" });
    expect(running.fatal[0]).toMatchObject({ code: "Conflict", reason: "transaction_changed" });
    await running.stop();
    const { transactions } = await running.openTable("t").refresh();
    expect(transactions.get(running.appId(0))).toBe(1000);
  });

  it("that added a column in another spelling: the block is encoded again", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path });
    const first = makeTrace(2, { partition: 0, attributes: { a: "1" } });
    await running.append("t", first);
    await running.ingester.flush();
    await running.openTable("t").commit({
      columns: [{ name: "span.Shop.ID", type: "string" }],
      operation: "WRITE",
      dataChange: true,
    });
    const second = makeTrace(2, { partition: 0, attributes: { "shop.id": "7" } });
    await running.append("t", second);
    await running.ingester.flush();
    expect(await running.stored("t")).toEqual(expected(first, second));
    expect(running.fatal).toEqual([]);
    const { columns } = await running.openTable("t").refresh();
    expect([...columns.keys()].filter((name) => /shop\.id/i.test(name))).toEqual(["span.Shop.ID"]);
    await running.stop();
  });
});

it("starts although the bucket has a file that is no tenant's folder", async () => {
  await using folder = await TempFolder.make();
  await mkdir(join(folder.path, "bucket", "lost+found", "x"), { recursive: true });
  await mkdir(join(folder.path, "bucket", "_spoor", "x"), { recursive: true });
  await writeFile(join(folder.path, "bucket", "lost+found", "x", "y"), "");
  const running = await startIngester({ dir: folder.path });
  await running.append("t", makeTrace(1));
  await running.ingester.flush();
  await running.stop();
});
