/** Tests of the wrappers timeout, limit, hedge and coalesce. */
import { expect, test } from "vitest";
import { coalesceStore } from "./coalesce.ts";
import { describeObjectStore } from "#pkg/objstore/contract/contract.ts";
import { countStore } from "./count.ts";
import { hedgeStore } from "./hedge.ts";
import { StoreLedger } from "#pkg/objstore/ledger.ts";
import { limitStore } from "./limit.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import type { ObjectStore, ReadOptions } from "#pkg/objstore/object-store.ts";
import { ForwardingStore } from "./passing.ts";
import { heldBytes } from "#pkg/objstore/pieces.ts";
import { timeoutStore } from "./timeout.ts";

const content = new Uint8Array([1, 2, 3]);
const ledger = (): StoreLedger => new StoreLedger();
const joining = { gapBytes: 10, requestBytesMax: 1000 };

describeObjectStore("timeout", async () =>
  timeoutStore(new MemoryStore(), {
    timeoutMs: 60_000,
    bytesPerSecondMin: 1000,
    ledger: ledger(),
  }),
);
describeObjectStore("limit of one request", async () =>
  limitStore(new MemoryStore(), { requestsMax: 1, bytesMax: 1, ledger: ledger() }),
);
describeObjectStore("hedge", async () =>
  hedgeStore(new MemoryStore(), { share: 1, delayMinMs: 1, ledger: ledger() }),
);
describeObjectStore("coalesce", async () =>
  coalesceStore(new MemoryStore(), { ...joining, ledger: ledger() }),
);

/** A store whose ranged reads end when the test says so. */
class HeldStore extends ForwardingStore {
  readonly held: { range: string; go: () => void; fail: (error: Error) => void }[] = [];
  active = 0;
  activeMax = 0;

  override async getRange(
    key: string,
    start: number,
    end: number,
    options: ReadOptions = {},
  ): Promise<Uint8Array> {
    this.active++;
    this.activeMax = Math.max(this.active, this.activeMax);
    const turn = Promise.withResolvers<void>();
    this.held.push({ range: `${start}-${end}`, go: turn.resolve, fail: turn.reject });
    options.signal?.addEventListener("abort", () => turn.reject(new Error("aborted")));
    try {
      await turn.promise;
      return await this.store.getRange(key, start, end);
    } finally {
      this.active--;
    }
  }

  async until(count: number): Promise<void> {
    while (this.held.length < count) await turnOfLoop();
  }
}

const turnOfLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function heldStore(sizeBytes = 1000): Promise<HeldStore> {
  const below = new MemoryStore();
  await below.put(
    "k",
    Uint8Array.from({ length: sizeBytes }, (_, i) => i % 251),
  );
  return new HeldStore(below);
}

test("timeout: a call or list without response throws Timeout, and is counted", async () => {
  const held = await heldStore();
  const events = ledger();
  const timed = { timeoutMs: 5, bytesPerSecondMin: 1e9, ledger: events };
  const late = { code: "Timeout", reason: "request_timeout" };
  await expect(timeoutStore(held, timed).getRange("k", 0, 9)).rejects.toMatchObject(late);
  class StuckList extends ForwardingStore {
    override async *list(_: string, { signal }: ReadOptions = {}): AsyncIterable<never> {
      await new Promise((_resolve, reject) => {
        signal?.addEventListener("abort", () => reject(signal.reason as Error));
      });
      yield* [];
    }
  }
  const stuck = timeoutStore(new StuckList(new MemoryStore()), timed);
  await expect(Array.fromAsync(stuck.list(""))).rejects.toMatchObject(late);
  expect(events.events("timeout")).toBe(2);
});

test("timeout: large transfers have more time", async () => {
  const held = await heldStore();
  const store = timeoutStore(held, { timeoutMs: 1, bytesPerSecondMin: 1, ledger: ledger() });
  const reading = store.getRange("k", 0, 1000);
  await held.until(1);
  await new Promise((resolve) => setTimeout(resolve, 30));
  held.held[0].go();
  expect(await reading).toHaveLength(1000);
});

test("limit and timeout: an assembly counts for its pieces, up to what a store holds at once", async () => {
  const given: (ReadOptions | undefined)[] = [];
  const turn = Promise.withResolvers<void>();
  class Holds extends ForwardingStore {
    override async assemble(_: string, __: unknown, options?: ReadOptions): Promise<void> {
      given.push(options);
      await turn.promise;
    }
  }
  const below = new Holds(new MemoryStore());
  await below.put("k", content);
  const bytesMax = heldBytes([{ key: "k", start: 0, end: 2 ** 40 }]) + 10;
  const events = ledger();
  const limited = limitStore(below, { requestsMax: 9, bytesMax, ledger: events });
  // A terabyte is transferred in parts, few of which are in memory.
  const large = limited.assemble("a", [{ key: "k", start: 0, end: 2 ** 40 }]);
  const small = limited.assemble("b", [content, { key: "k", start: 0, end: 3 }]);
  const waits = limited.assemble("c", [new Uint8Array(5)]);
  await turnOfLoop();
  expect(given).toHaveLength(2);
  expect(events.events("limitWait")).toBe(1);
  const timed = timeoutStore(below, { timeoutMs: 1, bytesPerSecondMin: 1, ledger: ledger() });
  // The timeout includes 1,000 seconds for the bytes, so the call is not late.
  const long = timed.assemble("d", [new Uint8Array(500), { key: "k", start: 0, end: 500 }]);
  const short = timed.assemble("e", []);
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(given.map((options) => options?.signal?.aborted)).toEqual([
    undefined,
    undefined,
    false,
    true,
  ]);
  turn.resolve();
  await Promise.all([large, small, waits, long, short]);
});

test("limit: bounds requests and bytes, admits in order, and runs an oversized one alone", async () => {
  const held = await heldStore();
  const events = ledger();
  const store = limitStore(held, { requestsMax: 3, bytesMax: 100, ledger: events });
  const sizes = [40, 40, 40, 10, 500, 10, 10, 10, 10];
  const done: number[] = [];
  const reads = sizes.map(async (size, i) => {
    await store.getRange("k", 0, size);
    done.push(i);
  });
  await turnOfLoop();
  expect(held.held.map(({ range }) => range)).toEqual(["0-40", "0-40"]);
  const seen: number[] = [];
  for (let at = 0; at < sizes.length; at++) {
    await held.until(at + 1);
    seen.push(held.active);
    held.held[at].go();
    await turnOfLoop();
  }
  await Promise.all(reads);
  expect(held.held.map(({ range }) => Number(range.slice(2)))).toEqual(sizes);
  expect(done).toEqual(sizes.map((_, i) => i));
  expect(seen[4]).toBe(1);
  expect(held.activeMax).toBe(3);
  expect(events.events("limitWait")).toBe(7);
});

test("limit: an aborted waiter leaves the queue", async () => {
  const held = await heldStore();
  const store = limitStore(held, { requestsMax: 1, bytesMax: 100, ledger: ledger() });
  const first = store.getRange("k", 0, 1);
  const abort = new AbortController();
  const second = store.getRange("k", 1, 2, { signal: abort.signal });
  const third = store.getRange("k", 2, 3);
  await held.until(1);
  abort.abort();
  await expect(second).rejects.toMatchObject({ code: "Canceled" });
  held.held[0].go();
  await first;
  await held.until(2);
  expect(held.held[1].range).toBe("2-3");
  held.held[1].go();
  await third;
});

test("hedge: a late read is sent twice, the first response wins, the other is aborted", async () => {
  const held = await heldStore();
  const events = ledger();
  const store = hedgeStore(held, { share: 0.05, delayMinMs: 1, ledger: events });
  for (let i = 0; i < 16; i++) {
    const read = store.getRange("k", 0, 1);
    await held.until(i + 1);
    held.held[i].go();
    await read;
  }
  const late = store.getRange("k", 5, 6);
  await held.until(18);
  held.held[17].go();
  expect(await late).toEqual(Uint8Array.of(5));
  await turnOfLoop();
  expect(held.active).toBe(0);
  expect([events.events("hedge"), events.events("hedgeWon")]).toEqual([1, 1]);
  const failing = store.getRange("k", 6, 7);
  await held.until(20);
  held.held[18].fail(new Error("one fails"));
  held.held[19].go();
  expect(await failing).toEqual(Uint8Array.of(6));
});

test("hedge: the share bounds second requests", async () => {
  const held = await heldStore();
  const events = ledger();
  const store = hedgeStore(held, { share: 0.01, delayMinMs: 1, ledger: events });
  for (let i = 0; i < 16; i++) {
    const read = store.getRange("k", 0, 1);
    await held.until(i + 1);
    held.held[i].go();
    await read;
  }
  const reads = Array.from({ length: 50 }, () => store.getRange("k", 0, 1));
  // A slow moment among the quick reads makes the delay long, so wait for the second requests.
  await held.until(16 + 50 + 4);
  // Further second requests would start now.
  await new Promise((resolve) => setTimeout(resolve, 60));
  for (const { go } of held.held) go();
  await Promise.all(reads);
  // Four at once after an idle time, then one per hundred calls.
  expect(events.events("hedge")).toBeLessThanOrEqual(5);
  expect(events.events("hedge")).toBeGreaterThanOrEqual(4);
});

test("coalesce: close ranges become one request; distant ones and other objects do not", async () => {
  const below = new MemoryStore();
  const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i % 251);
  for (const key of ["k", "other"]) await below.put(key, bytes);
  const counted = countStore(below);
  const events = ledger();
  const store = coalesceStore(counted, { gapBytes: 10, requestBytesMax: 1000, ledger: events });
  const ranges = [
    [0, 100],
    [105, 200],
    [50, 60],
    [211, 220],
    [220, 1300],
    [4000, 4001],
  ] as const;
  const read = await Promise.all([
    ...ranges.map(async ([start, end]) => await store.getRange("k", start, end)),
    store.getRange("other", 0, 100),
  ]);
  ranges.forEach(([start, end], i) => expect(read[i]).toEqual(bytes.slice(start, end)));
  // 0-200 with the one inside; 211-220 is 11 bytes away; 220-1300 is too long to join.
  expect(counted.counts.getRange.requests).toBe(5);
  expect(events.events("merged")).toBe(2);
  read[0].fill(255);
  expect(read[2]).toEqual(bytes.slice(50, 60));
});

test("coalesce: a range in flight is fetched once, and each caller owns its bytes", async () => {
  const held = await heldStore();
  const events = ledger();
  const store = coalesceStore(held, { ...joining, ledger: events });
  const first = store.getRange("k", 0, 100);
  await held.until(1);
  const second = store.getRange("k", 0, 100);
  const third = store.getRange("k", 20, 30);
  await turnOfLoop();
  expect(held.held).toHaveLength(1);
  held.held[0].go();
  const all = await Promise.all([first, second, third]);
  all[0].fill(9);
  expect(all[1][50]).toBe(50);
  expect([...all[2]]).toEqual([20, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
  expect(events.events("shared")).toBe(2);
  const again = store.getRange("k", 0, 100);
  await held.until(2);
  held.held[1].go();
  expect(await again).toHaveLength(100);
});

test("coalesce: only the abort of the last caller aborts the request", async () => {
  const held = await heldStore();
  const store = coalesceStore(held, { ...joining, ledger: ledger() });
  const abort = new AbortController();
  const first = store.getRange("k", 0, 5, { signal: abort.signal });
  const second = store.getRange("k", 5, 10);
  await held.until(1);
  abort.abort();
  await expect(first).rejects.toMatchObject({ code: "Canceled" });
  expect(held.active).toBe(1);
  held.held[0].go();
  expect(await second).toHaveLength(5);
  const last = new AbortController();
  const alone = store.getRange("k", 0, 5, { signal: last.signal });
  await held.until(2);
  last.abort();
  await expect(alone).rejects.toMatchObject({ code: "Canceled" });
  await turnOfLoop();
  expect(held.active).toBe(0);
});

test("coalesce: a range beyond the end fails alone", async () => {
  const below = new MemoryStore();
  await below.put("k", new Uint8Array(100));
  const store = coalesceStore(below, { ...joining, ledger: ledger() });
  const [good, bad] = await Promise.allSettled([
    store.getRange("k", 90, 100),
    store.getRange("k", 95, 105),
  ]);
  expect(good).toMatchObject({ status: "fulfilled" });
  expect(bad).toMatchObject({ status: "rejected", reason: { code: "Corrupt" } });
});

test("ledgers with one buffer share their counts, and the cost follows the prices", async () => {
  const { countsOf, estimateCost } = await import("./count.ts");
  const shared = ledger();
  const stores: ObjectStore[] = [shared, new StoreLedger(shared.buffer)].map((one) =>
    countStore(new MemoryStore(), one),
  );
  for (const store of stores) {
    await store.put("a", content);
    await store.getRange("a", 0, 1);
    await store.delete("a");
  }
  const counts = countsOf(shared);
  expect(counts.put).toEqual({ requests: 2, failures: 0, bytes: 6 });
  expect(counts.getRange.bytes).toBe(2);
  const prices = { writePerMillion: 5_000_000, readPerMillion: 400_000, deletePerMillion: 0 };
  expect(estimateCost(counts, prices)).toBeCloseTo(2 * 5 + 2 * 0.4);
  const { buckets, seconds } = shared.latency("put");
  expect(buckets.reduce((sum, count) => sum + count, 0)).toBe(2);
  expect(seconds).toBeGreaterThan(0);
});
