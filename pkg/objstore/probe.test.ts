import { expect, test } from "vitest";
import { systemClock } from "#pkg/clock/clock.ts";
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import { faultStore } from "./fault.testing.ts";
import { MemoryStore } from "./memory.ts";
import type { ListOptions, ObjectInfo, ObjectStore, ReadOptions } from "./object-store.ts";
import { ForwardingStore } from "#pkg/objstore/wrap/passing.ts";
import { probeStore } from "./probe.ts";

const options = { clock: systemClock, clockSkewMaxMs: 300_000 };

async function reasonOf(store: ObjectStore, over: Partial<typeof options> = {}): Promise<string> {
  const error = await probeStore(store, { ...options, ...over }).then(
    () => undefined,
    toSpoorError,
  );
  expect(error?.message.split("\n")).toHaveLength(1);
  return `${error?.code} ${error?.reason}`;
}

test("a working store passes, and no object stays behind", async () => {
  const store = new MemoryStore();
  await probeStore(store, options);
  expect(await Array.fromAsync(store.list(""))).toEqual([]);
});

test("detects a conditional create that ignores its condition, or checks it before writing", async () => {
  class Ignores extends ForwardingStore {
    override async putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean> {
      await this.store.put(key, bytes);
      return true;
    }
  }
  class AsksFirst extends ForwardingStore {
    override async putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean> {
      const isTaken = await this.store.head(key).then(
        () => true,
        () => false,
      );
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (!isTaken) await this.store.put(key, bytes);
      return !isTaken;
    }
  }
  class NobodyWins extends ForwardingStore {
    override async putIfAbsent(): Promise<boolean> {
      return false;
    }
  }
  for (const Broken of [Ignores, AsksFirst, NobodyWins]) {
    const below = new MemoryStore();
    expect(await reasonOf(new Broken(below))).toBe("InvalidInput no_conditional_create");
    expect(await Array.fromAsync(below.list(""))).toEqual([]);
  }
});

test("detects ranged reads, lists and deletes that do nothing", async () => {
  class NoRanges extends ForwardingStore {
    override async getRange(key: string): Promise<Uint8Array> {
      return await this.store.get(key);
    }
  }
  class PastTheEnd extends ForwardingStore {
    override async getRange(key: string, start: number, end: number): Promise<Uint8Array> {
      return (await this.store.get(key)).slice(start, end);
    }
  }
  class StaleList extends ForwardingStore {
    override async *list(_: string, _options?: ListOptions): AsyncIterable<ObjectInfo> {
      yield* [];
    }
  }
  class KeepsAll extends ForwardingStore {
    override async deleteMany(_: readonly string[], _options?: ReadOptions): Promise<void> {
      await Promise.resolve();
    }
  }
  expect(await reasonOf(new NoRanges(new MemoryStore()))).toBe("InvalidInput no_ranges");
  expect(await reasonOf(new PastTheEnd(new MemoryStore()))).toBe("InvalidInput no_ranges");
  expect(await reasonOf(new StaleList(new MemoryStore()))).toBe("InvalidInput no_list");
  expect(await reasonOf(new KeepsAll(new MemoryStore()))).toBe("InvalidInput no_delete");
});

test("detects a clock that is off by more than the limit", async () => {
  for (const [offMs, expected] of [
    [400_000, "InvalidInput clock_skew"],
    [-400_000, "InvalidInput clock_skew"],
    [200_000, "undefined undefined"],
    [-200_000, "undefined undefined"],
  ] as const) {
    const clock = { ...systemClock, nowMs: () => Date.now() + offMs };
    const error = await probeStore(new MemoryStore(), { ...options, clock }).then(
      () => undefined,
      toSpoorError,
    );
    expect(`${error?.code} ${error?.reason}`).toBe(expected);
    if (error !== undefined) expect(error.message).toContain(offMs > 0 ? "ahead of" : "behind");
  }
});

test("errors of the store are thrown unchanged", async () => {
  const wrong = new SpoorError("InvalidInput", "no such key id", { reason: "wrong_credentials" });
  const store = faultStore(new MemoryStore(), () => "before", { error: () => wrong });
  expect(await reasonOf(store)).toBe("InvalidInput wrong_credentials");
  expect(await reasonOf(faultStore(new MemoryStore(), () => "before"))).toBe(
    "Unavailable injected",
  );
});
