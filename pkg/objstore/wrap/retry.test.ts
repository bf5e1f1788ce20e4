import { expect, test } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import { describeObjectStore } from "#pkg/objstore/contract/contract.ts";
import { failNth, failSeeded, faultStore } from "#pkg/objstore/fault.testing.ts";
import { StoreLedger } from "#pkg/objstore/ledger.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { retryStore, type RetryOptions } from "./retry.ts";

const content = new Uint8Array([1, 2, 3]);

interface Rig {
  options: RetryOptions;
  pausesMs: number[];
  ledger: StoreLedger;
}

function rigOf(over: Partial<RetryOptions> = {}): Rig {
  const pausesMs: number[] = [];
  const ledger = new StoreLedger();
  const clock = {
    nowMs: () => 0,
    monotonicMs: () => 0,
    sleep: async (ms: number) => void pausesMs.push(ms),
  };
  const bounds = { attemptsMax: 5, backoffMinMs: 100, backoffMaxMs: 1000 };
  const budget = { budgetShare: 1, budgetBurst: 50 };
  return {
    options: { ...bounds, ...budget, clock, ledger, random: () => 1, ...over },
    pausesMs,
    ledger,
  };
}

describeObjectStore("retry", async () => retryStore(new MemoryStore(), rigOf().options));
describeObjectStore("retry over a store that fails at times", async () => {
  const faulty = faultStore(new MemoryStore(), failSeeded(7, 100));
  return retryStore(faulty, rigOf({ attemptsMax: 20, budgetBurst: 100_000 }).options);
});

/** A store that denies its first writes, as MinIO does while their folder is removed. */
class DenyingStore extends MemoryStore {
  denied: number;
  writes = 0;

  constructor(denied: number) {
    super();
    this.denied = denied;
  }

  override async put(key: string, bytes: Uint8Array): Promise<void> {
    this.#deny();
    await super.put(key, bytes);
  }

  override async putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean> {
    this.#deny();
    return await super.putIfAbsent(key, bytes);
  }

  #deny(): void {
    this.writes++;
    if (this.denied-- > 0) {
      throw new SpoorError("InvalidInput", "denied", { reason: "access_denied" });
    }
  }
}

test("a write that is denied is tried again, twice: a server may remove its folder just then", async () => {
  const brief = new DenyingStore(2);
  await retryStore(brief, rigOf().options).put("a/b", content);
  expect([brief.writes, await brief.get("a/b")]).toEqual([3, content]);
  brief.denied = 1;
  expect(await retryStore(brief, rigOf().options).putIfAbsent("a/c", content)).toBe(true);
  const lasting = new DenyingStore(1000);
  const store = retryStore(lasting, rigOf().options);
  await expect(store.put("a/b", content)).rejects.toMatchObject({ reason: "access_denied" });
  expect(lasting.writes).toBe(3);
});

test.each(["before", "after"] as const)("each call survives a fault %s it", async (fault) => {
  const calls: ((store: ObjectStore) => Promise<unknown>)[] = [
    async (store) => await store.put("new", content),
    async (store) => await store.putIfAbsent("new", content),
    async (store) => await store.assemble("new", [content, { key: "old", start: 0, end: 2 }]),
    async (store) => await store.get("old"),
    async (store) => await store.getRange("old", 0, 1),
    async (store) => await store.head("old"),
    async (store) => await Array.fromAsync(store.list("")),
    async (store) => await store.listFolders(""),
    async (store) => await store.delete("old"),
    async (store) => await store.deleteMany(["old"]),
  ];
  for (const call of calls) {
    const expected = new MemoryStore({ clock: rigOf().options.clock });
    await expected.put("old", content);
    const below = new MemoryStore({ clock: rigOf().options.clock });
    await below.put("old", content);
    const { options, ledger, pausesMs } = rigOf();
    const faulty = faultStore(below, failNth(1, fault));
    expect(await call(retryStore(faulty, options))).toEqual(await call(expected));
    expect(await keysOf(below)).toEqual(await keysOf(expected));
    expect({ retries: ledger.events("retry"), pausesMs }).toEqual({ retries: 1, pausesMs: [100] });
  }
});

test("backoff doubles up to its bound, attempts are bounded, lasting errors are not retried", async () => {
  const { options, pausesMs } = rigOf({ attemptsMax: 6 });
  const faulty = faultStore(new MemoryStore(), () => "before");
  await expect(retryStore(faulty, options).get("k")).rejects.toMatchObject({ reason: "injected" });
  expect(faulty.calls).toBe(6);
  expect(pausesMs).toEqual([100, 200, 400, 800, 1000]);
  for (const code of ["NotFound", "InvalidInput", "Corrupt", "Internal", "Canceled"] as const) {
    const error = (): SpoorError => new SpoorError(code, "no");
    const failing = faultStore(new MemoryStore(), () => "before", { error });
    await expect(retryStore(failing, rigOf().options).get("k")).rejects.toMatchObject({ code });
    expect(failing.calls).toBe(1);
  }
  const sum = new SpoorError("Corrupt", "no", { reason: "checksum_mismatch" });
  const below = new MemoryStore();
  await below.put("k", content);
  const damaged = faultStore(below, failNth(1, "after"), { error: () => sum });
  expect(await retryStore(damaged, rigOf().options).get("k")).toEqual(content);
});

test("Retry-After is honoured up to the bound", async () => {
  const slowDown = (retryAfterMs: number) => () =>
    new SpoorError("Unavailable", "slow down", { reason: "slow_down", retryAfterMs });
  const { options, pausesMs } = rigOf();
  const faulty = faultStore(new MemoryStore(), failNth(1, "before"), { error: slowDown(700) });
  await retryStore(faulty, options).put("k", content);
  expect(pausesMs).toEqual([700]);
  const far = faultStore(new MemoryStore(), failNth(1, "before"), { error: slowDown(60_000) });
  await expect(retryStore(far, options).put("k", content)).rejects.toMatchObject({
    retryAfterMs: 60_000,
  });
});

test("the budget bounds retries of a store that is down, and grows with each call", async () => {
  const { options, ledger } = rigOf({ budgetBurst: 3, budgetShare: 0.5 });
  let isDown = true;
  const faulty = faultStore(new MemoryStore(), () => (isDown ? "before" : "none"));
  const store = retryStore(faulty, options);
  for (let i = 0; i < 20; i++) await store.put("k", content).catch(ignoreInjectedFault);
  // 20 calls, 3 retries from the burst, and half a retry for each call.
  expect(faulty.calls).toBeLessThanOrEqual(20 + 3 + 10);
  expect(ledger.events("retryRefused")).toBeGreaterThan(5);
  isDown = false;
  await store.put("k", content);
  expect(await store.get("k")).toEqual(content);
});

test("a create whose response was lost is resolved by a read: ours, another's, none", async () => {
  const mine = new TextEncoder().encode("mine");
  const theirs = new TextEncoder().encode("theirs");
  for (const fault of ["before", "after"] as const) {
    const below = new MemoryStore();
    const store = retryStore(faultStore(below, failNth(1, fault)), rigOf().options);
    expect(await store.putIfAbsent("k", mine)).toBe(true);
    expect(await below.get("k")).toEqual(mine);
    const taken = new MemoryStore();
    await taken.put("k", theirs);
    const loser = retryStore(faultStore(taken, failNth(1, fault)), rigOf().options);
    expect(await loser.putIfAbsent("k", mine)).toBe(false);
    expect(await taken.get("k")).toEqual(theirs);
  }
});

test("a create whose first attempt takes effect between the read and the retry is ours", async () => {
  const below = new MemoryStore();
  const mine = new TextEncoder().encode("mine");
  let puts = 0;
  const late: ObjectStore = new Proxy(below, {
    get(target, name: keyof MemoryStore) {
      if (name !== "putIfAbsent") return (target[name] as () => unknown).bind?.(target);
      return async (key: string, bytes: Uint8Array) => {
        if (++puts === 1) throw new SpoorError("Timeout", "no answer");
        await target.putIfAbsent(key, bytes);
        return await target.putIfAbsent(key, bytes);
      };
    },
  });
  expect(await retryStore(late, rigOf().options).putIfAbsent("k", mine)).toBe(true);
  expect(puts).toBe(2);
});

test("an assembly from the target's own content is not retried", async () => {
  const below = new MemoryStore();
  await below.put("k", content);
  const { options, ledger } = rigOf();
  const store = retryStore(faultStore(below, failNth(1, "after")), options);
  const twice = [{ key: "k", start: 1, end: 3 }, content];
  await expect(store.assemble("k", twice)).rejects.toMatchObject({ reason: "injected" });
  // A retry would read the new content.
  expect(await below.get("k")).toEqual(Uint8Array.of(2, 3, 1, 2, 3));
  expect(ledger.events("retry")).toBe(0);
});

test("a list resumes after the last listed object, without duplicates", async () => {
  const below = new MemoryStore();
  const keys = Array.from({ length: 30 }, (_, i) => `k${String(i).padStart(2, "0")}`);
  for (const key of keys) await below.put(key, content);
  let breaks = 0;
  const breaking: ObjectStore = new Proxy(below, {
    get(target, name: keyof MemoryStore) {
      if (name !== "list") return (target[name] as () => unknown).bind?.(target);
      return async function* (...args: Parameters<MemoryStore["list"]>) {
        let given = 0;
        for await (const info of target.list(...args)) {
          yield info;
          if (++given === 4 && ++breaks < 7) throw new SpoorError("Unavailable", "cut off");
        }
      };
    },
  });
  const store = retryStore(breaking, rigOf({ attemptsMax: 2 }).options);
  expect((await Array.fromAsync(store.list(""))).map(({ key }) => key)).toEqual(keys);
  expect(breaks).toBeGreaterThanOrEqual(7);
});

test("an abort ends the wait, and the error names the cause of the wait", async () => {
  const abort = new AbortController();
  const clock = {
    nowMs: () => 0,
    monotonicMs: () => 0,
    sleep: async () => {
      abort.abort();
      throw new DOMException("aborted", "AbortError");
    },
  };
  const faulty = faultStore(new MemoryStore(), () => "before");
  const store = retryStore(faulty, rigOf({ clock }).options);
  await expect(store.get("k", { signal: abort.signal })).rejects.toMatchObject({
    code: "Canceled",
    message: expect.stringContaining("injected fault in call 1"),
  });
  expect(faulty.calls).toBe(1);
});

async function keysOf(store: ObjectStore): Promise<string[]> {
  return (await Array.fromAsync(store.list(""))).map((info) => info.key);
}

/** The store injects faults, so this call may fail. */
function ignoreInjectedFault(): void {}
