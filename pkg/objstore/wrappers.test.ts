import { expect, test } from "vitest";
import { describeObjectStore } from "#pkg/objstore/contract/contract.ts";
import { countStore, estimateCost } from "#pkg/objstore/wrap/count.ts";
import { failNth, failSeeded, faultStore } from "./fault.testing.ts";
import { MemoryStore } from "./memory.ts";
import type { AssembleOptions, MadeRequest, ObjectStore, Piece } from "./object-store.ts";
import { ForwardingStore } from "#pkg/objstore/wrap/passing.ts";
import { prefixStore } from "#pkg/objstore/wrap/prefix.ts";

const content = new Uint8Array([1, 2, 3]);

describeObjectStore("count", async () => countStore(new MemoryStore()));
describeObjectStore("fault without faults", async () =>
  faultStore(new MemoryStore(), () => "none"),
);

test("prefix: keys live below the prefix and nothing else shows", async () => {
  const below = new MemoryStore();
  for (const key of ["t", "t-/k", "t0/k", "s/k"]) await below.put(key === "t" ? "a" : key, content);
  const store = prefixStore(below, "t/");
  await store.put("a/b", content);
  expect(await store.putIfAbsent("a/b", content)).toBe(false);
  expect(await store.putIfAbsent("c", content)).toBe(true);
  expect(await below.get("t/a/b")).toEqual(content);
  expect((await Array.fromAsync(store.list(""))).map((info) => info.key)).toEqual(["a/b", "c"]);
  const after = await Array.fromAsync(store.list("", { startAfter: "a/b" }));
  expect(after.map((info) => info.key)).toEqual(["c"]);
  expect(await store.listFolders("")).toEqual(["a"]);
  await store.assemble("d/e", [content, { key: "a/b", start: 1, end: 3 }]);
  expect(await below.get("t/d/e")).toEqual(Uint8Array.of(1, 2, 3, 2, 3));
  const outside = { key: "../s/k", start: 0, end: 1 };
  await expect(store.assemble("d/e", [outside])).rejects.toMatchObject({ code: "InvalidInput" });
  expect((await store.head("c")).key).toBe("c");
  expect(await store.getRange("c", 1, 2)).toEqual(Uint8Array.of(2));
  await store.delete("c");
  await expect(store.get("c")).rejects.toMatchObject({ code: "NotFound" });
  for (const key of ["", "/x", "../s/k", "..", "a/../../s/k"]) {
    await expect(store.get(key)).rejects.toMatchObject({ code: "InvalidInput" });
  }
  expect(() => prefixStore(below, "t")).toThrow("does not end with a /");
  expect(() => prefixStore(below, "../")).toThrow(".. segment");
  expect(prefixStore(below, "")).toBe(below);
});

test("count: requests, failures and bytes by kind", async () => {
  const store = countStore(new MemoryStore());
  await store.put("a", content);
  await store.putIfAbsent("a", content);
  await store.assemble("b", [content, { key: "a", start: 0, end: 2 }]);
  const missing = [{ key: "missing", start: 0, end: 1 }];
  await expect(store.assemble("b", missing)).rejects.toThrow("does not exist");
  await store.get("a");
  await store.getRange("a", 0, 2);
  await expect(store.getRange("a", 0, 9)).rejects.toThrow("ends at byte");
  await expect(store.get("missing")).rejects.toThrow("does not exist");
  await store.head("a");
  await Array.fromAsync(store.list(""));
  await expect(Array.fromAsync(store.list("/"))).rejects.toThrow("invalid object prefix");
  await store.listFolders("");
  await store.delete("a");
  await store.deleteMany(["a", "b"]);
  expect(store.counts).toEqual({
    put: { requests: 1, failures: 0, bytes: 3 },
    putIfAbsent: { requests: 1, failures: 0, bytes: 3 },
    assemble: { requests: 2, failures: 1, bytes: 5 },
    get: { requests: 2, failures: 1, bytes: 3 },
    getRange: { requests: 2, failures: 1, bytes: 2 },
    head: { requests: 1, failures: 0, bytes: 0 },
    list: { requests: 2, failures: 1, bytes: 0 },
    listFolders: { requests: 1, failures: 0, bytes: 0 },
    delete: { requests: 1, failures: 0, bytes: 0 },
    deleteMany: { requests: 1, failures: 0, bytes: 0 },
  });
});

test("count: an assembly counts as its requests, by their kinds", async () => {
  class Tells extends ForwardingStore {
    override async assemble(
      _key: string,
      _pieces: readonly Piece[],
      { onRequest }: AssembleOptions = {},
    ): Promise<void> {
      const tell = (kind: MadeRequest["kind"], bytes: number, failed = false): void =>
        onRequest?.({ kind, bytes, failed, seconds: 2 });
      tell("head", 0);
      tell("getRange", 7);
      tell("getRange", 7, true);
      tell("assemble", 30);
      tell("assemble", 0);
      tell("assemble", 40, true);
      tell("delete", 0);
      throw new Error("at the end");
    }
  }
  const store = countStore(new Tells(new MemoryStore()));
  const reported: MadeRequest[] = [];
  const onRequest = (request: MadeRequest): number => reported.push(request);
  await expect(store.assemble("k", [], { onRequest })).rejects.toThrow("at the end");
  expect(reported).toHaveLength(7);
  expect(store.counts).toMatchObject({
    assemble: { requests: 3, failures: 1, bytes: 30 },
    head: { requests: 1, failures: 0, bytes: 0 },
    getRange: { requests: 2, failures: 1, bytes: 7 },
    delete: { requests: 1, failures: 0, bytes: 0 },
  });
  expect(store.latency("getRange").seconds).toBe(4);
  const prices = { writePerMillion: 5e6, readPerMillion: 1e6, deletePerMillion: 0 };
  expect(estimateCost(store.counts, prices)).toBe(3 * 5 + 3);
});

const everyCall: [string, (store: ObjectStore) => Promise<unknown>][] = [
  ["put", async (store) => await store.put("new", content)],
  ["putIfAbsent", async (store) => await store.putIfAbsent("new", content)],
  ["assemble", async (store) => await store.assemble("new", [{ key: "old", start: 1, end: 3 }])],
  ["get", async (store) => await store.get("old")],
  ["getRange", async (store) => await store.getRange("old", 0, 1)],
  ["head", async (store) => await store.head("old")],
  ["list", async (store) => await Array.fromAsync(store.list(""))],
  ["listFolders", async (store) => await store.listFolders("")],
  ["delete", async (store) => await store.delete("old")],
  ["deleteMany", async (store) => await store.deleteMany(["old"])],
];

test.each(everyCall)("fault: %s fails before or after its effect, once", async (kind, call) => {
  for (const fault of ["before", "after"] as const) {
    const below = new MemoryStore();
    await below.put("old", content);
    const untouched = new MemoryStore();
    await untouched.put("old", content);
    const store = faultStore(below, failNth(2, fault));
    await store.head("old");
    await expect(call(store)).rejects.toMatchObject({
      code: "Unavailable",
      reason: "injected",
      message: expect.stringContaining(kind),
    });
    if (fault === "after") await call(untouched);
    expect(await keysOf(below)).toEqual(await keysOf(untouched));
    await call(store);
    expect({ calls: store.calls, faults: store.faults }).toEqual({ calls: 3, faults: 1 });
  }
});

test("fault: a seed determines the faults", () => {
  const run = (seed: number): string => {
    const plan = failSeeded(seed, 300);
    const calls = Array.from({ length: 1000 }, (_, index) =>
      plan({ index: index + 1, kind: "get", key: "k" }),
    );
    return calls.map((fault) => fault[0]).join("");
  };
  expect(run(1)).toBe(run(1));
  expect(run(1)).not.toBe(run(2));
  const faults = run(3).replaceAll("n", "");
  expect(faults.length).toBeGreaterThan(240);
  expect(faults.length).toBeLessThan(360);
  expect(faults).toMatch(/a.*b.*a/);
});

test("fault: the error can be chosen, for a timeout for example", async () => {
  const error = new DOMException("slow", "TimeoutError");
  const store = faultStore(new MemoryStore(), failNth(1, "after"), { error: () => error });
  await expect(store.put("k", content)).rejects.toBe(error);
  expect(await store.get("k")).toEqual(content);
});

test("fault: slow lets others overtake, damaged flips one bit of a range, stale hides", async () => {
  const below = new MemoryStore();
  for (const key of ["a", "b", "c", "d"]) await below.put(key, content);
  const slow = faultStore(below, failNth(1, "slow"));
  const order: string[] = [];
  await Promise.all([
    slow.get("a").then(() => order.push("slow")),
    slow.get("b").then(() => order.push("quick")),
  ]);
  expect(order).toEqual(["quick", "slow"]);
  const damaged = faultStore(below, () => "damaged");
  const read = await damaged.getRange("a", 0, 3);
  const flipped = [...read].reduce((sum, byte, i) => sum + bitsOf(byte ^ content[i]), 0);
  expect(flipped).toBe(1);
  expect(await damaged.get("a")).toEqual(content);
  expect(damaged.faults).toBe(1);
  for (const [start, end] of [
    [0, 3],
    [2, 3],
  ]) {
    await damaged.assemble("made", [content, { key: "a", start, end }, content]);
    const made = await below.get("made");
    const expected = [...content, ...content.subarray(start, end), ...content];
    expect(made).toHaveLength(expected.length);
    const flips = [...made].map((byte, i) => bitsOf(byte ^ expected[i]));
    expect(flips.map((bits, i) => (bits === 0 ? -1 : i)).filter((i) => i >= 0)).toEqual([3]);
    expect(flips[3]).toBe(1);
  }
  await below.delete("made");
  const stale = faultStore(below, ({ kind }) => (kind === "list" ? "stale" : "none"));
  for (const key of ["e", "f"]) await stale.put(key, content);
  expect(await keysOf(stale)).toEqual(["a", "b", "c", "d"]);
  expect(await stale.get("f")).toEqual(content);
});

function bitsOf(byte: number): number {
  return byte.toString(2).replaceAll("0", "").length;
}

async function keysOf(store: ObjectStore): Promise<string[]> {
  return (await Array.fromAsync(store.list(""))).map((info) => info.key);
}
