import { describe, expect, it } from "vitest";
import { FaultyFs } from "#pkg/spanlog/span-log.testing.ts";
import {
  eventually,
  expected,
  makeTrace,
  partitionCount,
  startIngester,
  TempFolder,
} from "./ingester.testing.ts";

const signal = new AbortController().signal;

describe("ingester", () => {
  it("shows spans live, then stores them; a restart reads unstored records", async () => {
    await using folder = await TempFolder.make();
    const first = await startIngester({ dir: folder.path });
    const traces = Array.from({ length: 20 }, (_, i) => makeTrace(1 + i));
    const tenantOf = (i: number): string => (i % 2 === 0 ? "a" : "b");
    for (const [i, trace] of traces.entries()) await first.append(tenantOf(i), trace);
    await first.readAll();
    for (const [i, trace] of traces.entries()) {
      expect(await first.live(tenantOf(i), trace)).toEqual(expected(trace));
      expect(await first.live(tenantOf(i + 1), trace)).toEqual([]);
    }
    await first.stop();
    const second = await startIngester({ dir: folder.path });
    const late = makeTrace(3);
    await second.append("a", late);
    await second.ingester.flush();
    const ofA = expected(...traces.filter((_, i) => i % 2 === 0), late);
    expect(await second.stored("a")).toEqual(ofA);
    expect(await second.stored("b")).toEqual(expected(...traces.filter((_, i) => i % 2 === 1)));
    await second.stop();
    const third = await startIngester({ dir: folder.path });
    await third.readAll();
    expect((await third.ingester.pin("a", signal)).heads).toEqual([]);
    expect(await third.stored("a")).toEqual(ofA);
    const states = await third.ingester.states();
    expect(states.every(({ trimTo, durableEnd }) => trimTo === durableEnd)).toBe(true);
    await third.stop();
  });

  it("cuts at its limits of spans and of age", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({
      dir: folder.path,
      config: { cutSpans: 10, cutAgeMs: 200 },
    });
    const traces = Array.from({ length: 40 }, (_, i) =>
      makeTrace(3, { partition: i % partitionCount }),
    );
    for (const trace of traces) await running.append("t", trace);
    const all = expected(...traces);
    while ((await running.stored("t")).length < all.length) await running.readAll();
    expect(await running.stored("t")).toEqual(all);
    expect((await running.openTable("t").refresh()).files.size).toBeGreaterThan(8);
    await running.stop();
  });

  it("trims the log again after a failure, without a further commit", async () => {
    await using folder = await TempFolder.make();
    const fs = new FaultyFs();
    const running = await startIngester({ dir: folder.path, logOptions: { fs } });
    await running.append("t", makeTrace(3, { partition: 0 }));
    let failures = 0;
    fs.decide = (call, path) => {
      const fails = call === "rename" && path.endsWith("trimmed.json") && failures++ < 3;
      return fails ? "before" : undefined;
    };
    await running.ingester.flush();
    expect(running.messages()).toContain("the log could not be trimmed");
    await eventually(() => running.spanLog.firstOffset(0) === 1);
    expect(failures).toBeGreaterThan(3);
    expect(running.spanLog.stats().records).toBe(0);
    await running.stop();
  });
});
