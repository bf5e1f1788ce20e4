import { describe, expect, it } from "vitest";
import type { SpanSpec } from "#pkg/engine/testing/spans.ts";
import { eventually, expected, makeTrace, startIngester, TempFolder } from "./ingester.testing.ts";

const signal = new AbortController().signal;

/** Large spans of partition 0. */
function largeTraces(count: number): SpanSpec[] {
  const filler = (i: number): string => `${i}`.padEnd(2000, "x");
  return Array.from({ length: count }, (_, i) =>
    makeTrace(1, { partition: 0, attributes: { filler: filler(i) } }),
  ).flat();
}

describe("memory of heads", () => {
  it("is bounded while nothing can be stored; reading continues afterwards", async () => {
    await using folder = await TempFolder.make();
    const headBytesMax = 4 * 1024 * 1024;
    const config = { headBytesMax, readBytes: 64 * 1024 };
    const running = await startIngester({ dir: folder.path, config });
    running.faults = ({ kind }) => (kind === "putIfAbsent" ? "before" : "none");
    const specs = largeTraces(1500);
    for (let i = 0; i < specs.length; i += 10) await running.append("t", specs.slice(i, i + 10));
    await eventually(async () => (await running.metric("stalled")) === 1);
    const [state] = await running.ingester.states();
    expect(state.nextOffset).toBeLessThan(state.durableEnd);
    // The limit plus one read of the log, at twice its size because arrays grow by doubling.
    expect(state.headBytes).toBeLessThan(headBytesMax / 4 + 4 * config.readBytes);
    const behind = state.durableEnd - state.nextOffset;
    expect(await running.incomplete("t")).toEqual([
      `partition 0: ${behind} log records are not readable yet`,
    ]);
    // Queries find exactly the spans in heads.
    const live = await running.live("t", specs);
    expect(expected(specs)).toEqual(expect.arrayContaining(live));
    expect(live.length).toBe(state.headSpans);
    running.faults = () => "none";
    await running.readAll();
    expect(await running.incomplete("t")).toEqual([]);
    await running.ingester.flush();
    expect(await running.stored("t")).toEqual(expected(specs));
    await running.stop();
  });

  it("is bounded over tenants too: the largest head is cut early, not all of them", async () => {
    await using folder = await TempFolder.make();
    const config = { headBytesMax: 8 * 1024 * 1024, readBytes: 64 * 1024 };
    const running = await startIngester({ dir: folder.path, config });
    // Starts the cutter thread now: its start may take longer than the second after which the next
    // head is closed.
    await running.append("first", makeTrace(1, { partition: 0 }));
    await running.ingester.flush();
    const small = makeTrace(1, { partition: 0 });
    await running.append("small", small);
    const specs = largeTraces(3000);
    for (let i = 0; i < specs.length; i += 10)
      await running.append("large", specs.slice(i, i + 10));
    await running.readAll();
    await eventually(async () => (await running.metric("stalled")) === 0);
    expect((await running.openTable("large").refresh()).files.size).toBeGreaterThan(0);
    expect((await running.openTable("small").refresh()).files.size).toBe(0);
    await running.ingester.flush();
    expect(await running.stored("large")).toEqual(expected(specs));
    expect(await running.stored("small")).toEqual(expected(small));
    await running.stop();
  });
});

describe("pins", () => {
  it("keep heads unchanged, even stored ones; a release frees their memory", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path });
    const first = largeTraces(20);
    await running.append("t", first);
    await running.readAll();
    const pinned = await running.ingester.pin("t", signal);
    expect(pinned.heads).toHaveLength(1);
    const [head] = pinned.heads;
    expect(head).toMatchObject({ spans: 20, toOffset: 1, appId: running.appId(0) });
    await running.append("t", largeTraces(5));
    await running.ingester.flush();
    expect(await running.metric("head_spans")).toBe(0);
    expect(await running.metric("head_bytes")).toBeGreaterThan(20 * 2000);
    const range = { startNano: 0n, endNano: 2n ** 63n - 1n };
    const list = await running.ask("list", head, { ...range, limit: 100 });
    expect(list.ids.length).toBe(20 * 16);
    expect(await running.metric("pins")).toBe(1);
    pinned.release();
    await expect(running.ask("list", head, { ...range, limit: 1 })).rejects.toMatchObject({
      code: "Timeout",
      reason: "pin_expired",
    });
    expect(await running.metric("head_bytes")).toBe(0);
    expect(await running.metric("pins")).toBe(0);
    // A second release does no harm.
    pinned.release();
    await running.stop();
  });

  it("that are not released expire", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path, config: { pinMs: 50 } });
    const specs = makeTrace(2, { partition: 0 });
    await running.append("t", specs);
    await running.readAll();
    const { heads } = await running.ingester.pin("t", signal);
    await running.ingester.flush();
    await eventually(async () => (await running.metric("head_bytes")) === 0);
    const traceId = Buffer.from(specs[0].traceId, "hex");
    await expect(running.ask("trace", heads[0], { traceId })).rejects.toMatchObject({
      code: "Timeout",
    });
    await running.stop();
  });

  it("of a query that was canceled meanwhile are released", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path });
    await running.append("t", makeTrace(2, { partition: 0 }));
    await running.readAll();
    for (let i = 0; i < 50; i++) {
      const controller = new AbortController();
      const pin = running.ingester.pin("t", controller.signal);
      controller.abort();
      await expect(pin).rejects.toMatchObject({ code: "Canceled" });
      await expect(running.ingester.pin("t", controller.signal)).rejects.toMatchObject({
        code: "Canceled",
      });
    }
    await eventually(async () => (await running.metric("pins")) === 0);
    await running.stop();
  });

  it("are bounded: one more query gets a reason instead of a head", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path });
    const specs = makeTrace(2, { partition: 0 });
    await running.append("t", specs);
    await running.readAll();
    const pins = await Promise.all(
      Array.from({ length: 1000 }, () => running.ingester.pin("t", signal)),
    );
    expect(await running.incomplete("t")).toEqual(["partition 0: 1000 queries pin heads already"]);
    // A tenant without heads needs no pin.
    expect(await running.incomplete("nobody")).toEqual([]);
    for (const pin of pins) pin.release();
    expect(await running.live("t", specs)).toEqual(expected(specs));
    await running.stop();
  });
});

describe("flush", () => {
  it("can run repeatedly; heads grow to their limits in between", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ dir: folder.path });
    const all: SpanSpec[] = [];
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 5; i++) {
        const specs = makeTrace(2, { partition: 0 });
        all.push(...specs);
        await running.append("t", specs);
        await running.readAll();
      }
      expect((await running.openTable("t").refresh()).files.size).toBe(round);
      await Promise.all([running.ingester.flush(), running.ingester.flush()]);
      expect(await running.stored("t")).toEqual(expected(all));
    }
    await running.ingester.flush();
    expect((await running.openTable("t").refresh()).files.size).toBe(3);
    await running.stop();
  });
});

describe("the log", () => {
  it("shrinks after commits, even with a tenant that became idle", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({
      dir: folder.path,
      config: { cutSpans: 200, cutAgeMs: 300 },
      logOptions: { segmentBytesMax: 64 * 1024 },
    });
    const quiet = makeTrace(1, { partition: 0 });
    await running.append("quiet", quiet);
    const busy = largeTraces(2000);
    for (let i = 0; i < busy.length; i += 20) await running.append("busy", busy.slice(i, i + 20));
    await eventually(() => running.spanLog.firstOffset(0) === running.spanLog.durableEnd(0));
    await eventually(() => running.spanLog.stats().bytes < 200 * 1024);
    expect(await running.stored("quiet")).toEqual(expected(quiet));
    expect(await running.stored("busy")).toEqual(expected(busy));
    expect(running.spanLog.committed(0)).toEqual(
      new Map([
        ["quiet", 1],
        ["busy", running.spanLog.durableEnd(0)],
      ]),
    );
    await running.stop();
  });

  it("is not held back by a tenant with few spans until their maximum age", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({
      dir: folder.path,
      config: { cutSpans: 200, cutLogBytes: 100 * 1024 },
      logOptions: { segmentBytesMax: 64 * 1024 },
    });
    const quiet = makeTrace(1, { partition: 0 });
    await running.append("quiet", quiet);
    const busy = largeTraces(2000);
    for (let i = 0; i < busy.length; i += 20) await running.append("busy", busy.slice(i, i + 20));
    await eventually(() => running.spanLog.committed(0).get("quiet") === 1);
    await eventually(() => running.spanLog.firstOffset(0) > 1);
    expect(await running.stored("quiet")).toEqual(expected(quiet));
    await running.stop();
  });
});
