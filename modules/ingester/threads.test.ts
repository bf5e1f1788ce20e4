import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { SpanSpec } from "#pkg/engine/testing/spans.ts";
import { failSeeded } from "#pkg/objstore/fault.testing.ts";
import {
  eventually,
  expected,
  makeTrace,
  openIngester,
  partitionCount,
  startIngester,
  TempFolder,
  ThreadWatch,
} from "./ingester.testing.ts";

describe("a partition's worker that dies", () => {
  it.each(["is ended", "throws"])(
    "%s: what it had closed is stored first, then a new one reads on",
    async (how) => {
      await using folder = await TempFolder.make();
      using threads = new ThreadWatch();
      const running = await startIngester({
        realThreads: true,
        dir: folder.path,
        config: { cutSpans: 10 },
      });
      const [worker] = threads.workers;
      // Closed heads cannot be stored, so they wait when the worker dies.
      running.faults = ({ kind }) => (kind === "putIfAbsent" ? "before" : "none");
      const first = Array.from({ length: 6 }, () => makeTrace(4, { partition: 0 })).flat();
      const elsewhere = makeTrace(3, { partition: 1 });
      await running.append("t", first);
      await running.append("t", elsewhere);
      await running.readAll();
      await eventually(async () => (await running.metric("store_failures_total")) > 0);
      expect(running.ingester.isReady).toBe(true);
      // A message without a handler is an uncaught error of the thread.
      if (how === "is ended") await worker.terminate();
      else worker.postMessage(null);
      await eventually(() => !running.ingester.isReady);
      expect(await running.incomplete("t")).toEqual(["partition 0: its worker is restarting"]);
      expect(await running.live("t", elsewhere)).toEqual(expected(elsewhere));
      expect(await running.ingester.states()).toHaveLength(partitionCount - 1);
      const later = Array.from({ length: 6 }, () => makeTrace(4, { partition: 0 })).flat();
      await running.append("t", later);
      await expect(running.ingester.flush()).rejects.toMatchObject({ code: "Unavailable" });
      running.faults = () => "none";
      await eventually(() => running.ingester.isReady);
      expect(await running.incomplete("t")).toEqual([]);
      await running.readAll();
      await running.ingester.flush();
      expect(await running.stored("t")).toEqual(expected(first, later, elsewhere));
      expect(await running.metric("worker_restarts_total")).toBe(1);
      expect(running.fatal).toEqual([]);
      await running.stop();
    },
  );

  it("loses its pins: its heads are never confused with those of the next worker", async () => {
    await using folder = await TempFolder.make();
    using threads = new ThreadWatch();
    const running = await startIngester({ realThreads: true, dir: folder.path });
    const traceId = makeTrace(1, { partition: 0 })[0].traceId;
    await running.append("t", makeTrace(1, { traceId }));
    await running.readAll();
    const { signal } = new AbortController();
    const before = await running.ingester.pin("t", signal);
    await threads.workers[0].terminate();
    await eventually(() => !running.ingester.isReady);
    await eventually(() => running.ingester.isReady);
    await running.append("t", makeTrace(1, { traceId }));
    await running.readAll();
    const after = await running.ingester.pin("t", signal);
    const [old, own] = [before.heads[0], after.heads[0]];
    expect([old.pin.pinId, old.pin.headId]).toEqual([own.pin.pinId, own.pin.headId]);
    const request = { traceId: Buffer.from(traceId, "hex") };
    await expect(running.ask("trace", old, request)).rejects.toMatchObject({
      code: "Unavailable",
      reason: "worker_died",
    });
    expect(await running.ask("trace", own, request)).toHaveLength(1);
    await running.stop();
  });

  it("with faulty records in its closed heads is restarted too", async () => {
    await using folder = await TempFolder.make();
    using threads = new ThreadWatch();
    const running = await startIngester({
      realThreads: true,
      dir: folder.path,
      config: { cutSpans: 4 },
    });
    const blocks = join(folder.path, "bucket", "t", "blocks");
    await mkdir(join(blocks, ".."), { recursive: true });
    await writeFile(blocks, "in the way");
    const good = [makeTrace(4, { partition: 0 }), makeTrace(4, { partition: 0 })];
    await running.spanLog.append(0, "t", Uint8Array.of(0x0a, 0x7f, 1));
    await running.append("t", good[0]);
    await running.readAll();
    await threads.workers[0].terminate();
    await eventually(() => !running.ingester.isReady);
    await running.append("t", good[1]);
    await rm(blocks);
    await eventually(() => running.ingester.isReady);
    await running.ingester.flush();
    expect(await running.stored("t")).toEqual(expected(...good));
    expect((await running.quarantined("t")).size).toBe(1);
    await running.stop();
  });

  it("while it reads the log again: the next one makes it ready", async () => {
    await using folder = await TempFolder.make();
    const first = await startIngester({ realThreads: true, dir: folder.path });
    const specs = Array.from({ length: 200 }, () => makeTrace(3)).flat();
    await first.append("t", specs);
    await first.stop();
    using threads = new ThreadWatch();
    const second = await openIngester({ realThreads: true, dir: folder.path });
    await second.ingester.start();
    await Promise.all(threads.workers.map((worker) => worker.terminate()));
    await second.ingester.caughtUp();
    await eventually(() => second.ingester.isReady);
    expect(await second.live("t", specs)).toEqual(expected(specs));
    await second.stop();
  });

  it("while the ingester stops is not started again", async () => {
    for (const waitMs of [0, 1, 5, 12, 20]) {
      await using folder = await TempFolder.make();
      using threads = new ThreadWatch();
      const running = await startIngester({ realThreads: true, dir: folder.path });
      const died = threads.workers[0].terminate();
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      await running.stop();
      await died;
      const exits = threads.workers.map((worker) => worker.threadId);
      // Ended threads have the id -1; a thread started after the stop would have another id.
      expect(exits.every((id) => id === -1)).toBe(true);
    }
  });
});

describe("a cutter thread that dies", () => {
  it("twice over one head: the third attempt succeeds, nothing goes to quarantine", async () => {
    await using folder = await TempFolder.make();
    const running = await startIngester({ realThreads: true, dir: folder.path });
    const specs = Array.from({ length: 10 }, () => makeTrace(3, { partition: 0 })).flat();
    await running.append("t", specs);
    await running.readAll();
    let killed = 0;
    using threads = new ThreadWatch((worker) => {
      if (killed++ < 2) setImmediate(() => void worker.terminate());
    });
    await running.ingester.flush();
    expect(threads.workers.length).toBe(3);
    expect(await running.stored("t")).toEqual(expected(specs));
    expect(await running.quarantined("t")).toEqual(new Map());
    await running.stop();
  });

  it("because the ingester stops: the head stays in the log", async () => {
    await using folder = await TempFolder.make();
    const first = await startIngester({ realThreads: true, dir: folder.path });
    const specs = Array.from({ length: 50 }, () => makeTrace(3)).flat();
    await first.append("t", specs);
    await first.readAll();
    const flushed = first.ingester.flush().then(
      () => "flushed",
      () => "given up",
    );
    using threads = new ThreadWatch();
    await eventually(() => threads.workers.length > 0);
    await first.stop();
    expect(await flushed).toBe("given up");
    expect(await first.quarantined("t")).toEqual(new Map());
    const second = await startIngester({ realThreads: true, dir: folder.path });
    await second.ingester.flush();
    expect(await second.stored("t")).toEqual(expected(specs));
    await second.stop();
  });
});

it.each([1, 2, 3])(
  "threads die and the store fails at random (seed %i): every span is stored exactly once",
  async (seed) => {
    await using folder = await TempFolder.make();
    using threads = new ThreadWatch();
    const running = await startIngester({
      realThreads: true,
      dir: folder.path,
      config: { cutSpans: 40, cutThreads: 2 },
    });
    running.faults = failSeeded(seed, 200);
    const sent: Record<string, SpanSpec[]> = { a: [], b: [] };
    for (let round = 0; round < 40; round++) {
      for (const tenant of ["a", "b"]) {
        const specs = Array.from({ length: 4 }, () => makeTrace(3)).flat();
        sent[tenant].push(...specs);
        await running.append(tenant, specs);
      }
      const victim = threads.workers[(seed * 7 + round * 5) % threads.workers.length];
      if (round % 10 === seed) await victim.terminate();
    }
    running.faults = () => "none";
    await eventually(async () => {
      await eventually(() => running.ingester.isReady);
      return await running.ingester.flush().then(
        () => true,
        () => false,
      );
    });
    expect(await running.stored("a")).toEqual(expected(sent.a));
    expect(await running.stored("b")).toEqual(expected(sent.b));
    expect(running.fatal).toEqual([]);
    await running.stop();
  },
);
