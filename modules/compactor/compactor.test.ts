import fc from "fast-check";
import { Registry } from "prom-client";
import { encodeTime } from "ulid";
import { describe, expect, it } from "vitest";
import type { Clock } from "#pkg/clock/clock.ts";
import { hasCode } from "#pkg/errors/errors.ts";
import { blockPath } from "#pkg/block/block-file.ts";
import { type Fault, failNth, faultStore } from "#pkg/objstore/fault.testing.ts";
import { temporaryKey } from "#pkg/objstore/temporaries.ts";
import { day, hour, ManualClock, pathAt, start, World } from "./compactor.testing.ts";

describe("retention", () => {
  it("removes blocks by the time of their ULID, oldest first, some per commit", async () => {
    const world = new World();
    const old = [20, 18, 16, 15, 14].map((days) => pathAt(start - days * day));
    const young = [pathAt(start - 14 * day + 1), pathAt(start), pathAt(start + day)];
    await world.add("t", ...young, ...old.toReversed());
    const result = await world.compactor({ removesPerCommit: 2 }).runOnce();
    expect(result).toMatchObject({ removedBlocks: 5, failedTenants: 0, conflicts: 0 });
    const snapshot = await world.tableOf("t").refresh();
    expect([...snapshot.files.keys()].sort()).toEqual(young.toSorted());
    expect([...snapshot.tombstones.keys()]).toEqual(old);
    // One commit added all blocks, three commits removed them.
    expect(snapshot.version).toBe(3);
  });

  it("removes a bounded number in one cycle, and the rest in the next", async () => {
    const world = new World();
    await world.add("t", ...[20, 19, 18, 17, 16].map((days) => pathAt(start - days * day)));
    const compactor = world.compactor({ removesPerCommit: 2, removesPerCycle: 3 });
    expect((await compactor.runOnce()).removedBlocks).toBe(3);
    expect((await compactor.runOnce()).removedBlocks).toBe(2);
    expect((await compactor.runOnce()).removedBlocks).toBe(0);
  });

  it("is each tenant's own", async () => {
    const world = new World();
    const path = pathAt(start - 3 * day);
    await world.add("a", path);
    await world.add("b", path);
    const retentionMsOf = (tenant: string): number | undefined =>
      tenant === "a" ? 2 * day : undefined;
    await world.compactor({}, { retentionMsOf }).runOnce();
    expect(await world.named("a")).toEqual([]);
    expect(await world.named("b")).toEqual([path]);
  });

  it("leaves blocks that Spoor did not name", async () => {
    const world = new World();
    await world.add("t", "part-0001.parquet", "blocks/part-0002.parquet");
    world.clock.now += 100 * day;
    await world.compactor().runOnce();
    expect((await world.named("t")).length).toBe(2);
    expect((await world.objects()).length).toBe(2);
  });
});

describe("garbage", () => {
  it("includes objects of blocks that were removed before the grace period", async () => {
    const world = new World();
    const [first, second] = [pathAt(start), pathAt(start)];
    await world.add("t", first, second);
    await world.remove("t", first);
    const compactor = world.compactor();
    world.clock.now += hour - 1;
    expect((await compactor.runOnce()).deletedObjects).toBe(0);
    world.clock.now += 1;
    expect((await compactor.runOnce()).deletedObjects).toBe(1);
    expect(await world.objects()).toEqual([`t/${second}`]);
    expect((await compactor.runOnce()).deletedObjects).toBe(0);
  });

  it("includes objects that no commit names, if both their ULID and object are old", async () => {
    const world = new World();
    await world.add("t", pathAt(start));
    const [young] = await world.objects();
    const both = `t/${pathAt(start)}`;
    await world.put(both);
    world.clock.now += day - 1;
    const oldName = `t/${pathAt(start - 30 * day)}`;
    await world.put(oldName);
    const compactor = world.compactor();
    expect((await compactor.runOnce()).deletedObjects).toBe(0);
    world.clock.now += 1;
    expect((await compactor.runOnce()).deletedObjects).toBe(1);
    expect(await world.objects()).toEqual([oldName, young].sort());
    const newName = `t/${pathAt(start + 40 * day)}`;
    await world.put(newName);
    world.clock.now = start + 13 * day;
    expect((await compactor.runOnce()).deletedObjects).toBe(1);
    expect(await world.objects()).toEqual([young, newName].sort());
  });

  it("excludes objects outside of blocks/, and objects with other names", async () => {
    const world = new World();
    const ulid = blockPath(`${encodeTime(start, 10)}0000000000000000`, start).slice(-34);
    const others = [
      `t/other${ulid}`,
      `t/xblocks${ulid}`,
      `_spoor/blocks${ulid}`,
      `_internal/blocks${ulid}`,
      "t/blocks/2025/11/22/readme.txt",
      "t/blocks/2025/11/22/ZZZZZZZZZZ0000000000000000.parquet",
      `t/blocks${ulid}.tmp`,
      "loose.parquet",
    ];
    for (const key of others) await world.put(key);
    await world.add("t", pathAt(start));
    const before = await world.objects();
    world.clock.now += 13 * day;
    const compactor = world.compactor();
    expect((await compactor.runOnce()).deletedObjects).toBe(0);
    expect(await world.objects()).toEqual(before);
    for await (const { key } of world.store.list("_spoor/blocks")) expect(key).toBe(others[2]);
  });

  it("excludes objects that are committed during the listing", async () => {
    const world = new World();
    await world.add("t", pathAt(start));
    const late = pathAt(start - day);
    await world.put(`t/${late}`);
    world.clock.now += day;
    const { store } = world;
    const racing = new Proxy(store, {
      get: (target, name) => {
        if (name !== "list") return Reflect.get(target, name).bind(target) as unknown;
        return async function* list(prefix: string, options: object) {
          const found = await Array.fromAsync(target.list(prefix, options));
          if (prefix === "t/blocks/") await world.commit("t", [late]);
          yield* found;
        };
      },
    });
    expect((await world.compactor({}, { store: racing }).runOnce()).deletedObjects).toBe(0);
    expect(await world.objects()).toContain(`t/${late}`);
  });

  it("includes old temporary objects of a process that died in an assembly", async () => {
    const world = new World();
    await world.add("t", pathAt(start));
    const block = (await world.objects())[0];
    const temporary = (): string => temporaryKey(block)!;
    const [old, young] = [temporary(), temporary()];
    await world.put(old);
    const foreign = block.replace(/[^/]+$/, ".assembling-notes.txt");
    await world.put(foreign);
    world.clock.now += day;
    await world.put(young);
    const result = await world.compactor().runOnce();
    expect(result.deletedObjects).toBe(1);
    expect((await world.objects()).toSorted()).toEqual([block, foreign, young].toSorted());
  });

  it("is searched in bounded steps that continue in the next cycle", async () => {
    const world = new World();
    await world.add("t", ...Array.from({ length: 6 }, () => pathAt(start)));
    for (let i = 0; i < 7; i++) await world.put(`t/${pathAt(start + i)}`);
    world.clock.now += 2 * day;
    const compactor = world.compactor({ listedPerCycle: 5 });
    const deleted: number[] = [];
    for (let i = 0; i < 4; i++) deleted.push((await compactor.runOnce()).deletedObjects);
    expect(deleted.reduce((sum, count) => sum + count)).toBe(7);
    expect(Math.max(...deleted)).toBeLessThanOrEqual(5);
    expect((await world.objects()).length).toBe(6);
  });

  it("agrees with a direct implementation of the rules", async () => {
    const age = fc.integer({ min: 0, max: 40 }).map((hours) => hours * hour);
    const objects = fc.array(
      fc.record({
        ulidAge: age,
        objectAge: age,
        state: fc.constantFrom("named", "removed", "orphan"),
      }),
      { maxLength: 12 },
    );
    await fc.assert(
      fc.asyncProperty(objects, age, async (all, removedAge) => {
        const world = new World();
        const kept: string[] = [];
        const removed: string[] = [];
        const at = (ageMs: number): number => start + 100 * hour - ageMs;
        await world.add("t", pathAt(start));
        kept.push((await world.objects())[0]);
        for (const { ulidAge, objectAge, state } of all.toSorted(
          (a, b) => b.objectAge - a.objectAge,
        )) {
          world.clock.now = at(objectAge);
          const path = pathAt(at(ulidAge));
          await world.put(`t/${path}`);
          if (state !== "orphan") await world.commit("t", [path]);
          if (state === "removed") removed.push(path);
          const isOld = ulidAge >= day && objectAge >= day;
          if (state === "named" || (state === "orphan" && !isOld)) kept.push(`t/${path}`);
          if (state === "removed" && removedAge < hour) kept.push(`t/${path}`);
        }
        // Some were removed before they were put, which only makes them older tombstones.
        world.clock.now = at(removedAge);
        if (removed.length > 0) await world.remove("t", ...removed);
        world.clock.now = at(0);
        await world.compactor().runOnce();
        expect(await world.objects()).toEqual(kept.sort());
      }),
      { numRuns: 100 },
    );
  });
});

/** Makes a bucket with all kinds of objects that a cycle handles. */
async function busyWorld(): Promise<{ world: World; left: string[] }> {
  const world = new World();
  const young = pathAt(start - day);
  const moved = pathAt(start - day);
  await world.add("a", pathAt(start - 15 * day), pathAt(start - 16 * day), young, moved);
  await world.remove("a", moved);
  await world.put(`a/${pathAt(start - 20 * day)}`);
  await world.add("b", pathAt(start - 15 * day), young);
  world.clock.now += day;
  return { world, left: [`a/${young}`, `b/${young}`] };
}

/** Checks the invariant that the object of every block in a table exists. */
async function expectWhole(world: World): Promise<void> {
  const objects = new Set(await world.objects());
  for (const tenant of ["a", "b"]) {
    for (const path of await world.named(tenant)) expect(objects).toContain(`${tenant}/${path}`);
  }
}

describe("faults", () => {
  it.each<Fault>(["before", "after"])(
    "of any single call of the store are made good later: %s",
    async (fault) => {
      for (let nth = 1; ; nth++) {
        const { world, left } = await busyWorld();
        const store = faultStore(world.store, failNth(nth, fault));
        const compactor = world.compactor({ removesPerCommit: 1 }, { store });
        for (let cycle = 0; cycle < 3; cycle++) {
          const error: unknown = await compactor.runOnce().then(
            () => undefined,
            (thrown: unknown) => thrown,
          );
          if (error !== undefined) expect(hasCode(error, "Unavailable")).toBe(true);
          await expectWhole(world);
          world.clock.now += hour;
        }
        expect(await world.objects()).toEqual(left);
        if (nth === 1) expect(store.faults).toBe(1);
        if (store.faults === 0) break;
      }
    },
  );

  it("of one tenant do not stop the others", async () => {
    const { world } = await busyWorld();
    await world.store.put("a/_delta_log/00000000000000000001.json", Buffer.from("{broken"));
    const registry = new Registry();
    const compactor = world.compactor({}, { registry });
    expect(await compactor.runOnce()).toMatchObject({ tenants: 2, failedTenants: 1 });
    expect((await world.named("b")).length).toBe(1);
    const errors = await registry.getSingleMetric("spoor_compactor_errors_total")!.get();
    expect(errors.values.map(({ value }) => value)).toEqual([1]);
  });

  it("of the clock remove nothing", async () => {
    const { world } = await busyWorld();
    const before = await world.objects();
    const nowMs = (): number => world.clock.now + hour;
    const wrong: Clock = { nowMs, monotonicMs: nowMs, sleep: async () => {} };
    await expect(world.compactor({}, { clock: wrong }).runOnce()).rejects.toMatchObject({
      reason: "clock_skew",
    });
    expect(await world.objects()).toEqual(before);
    expect((await world.named("a")).length).toBe(3);
  });
});

describe("the log", () => {
  it("gets a checkpoint after enough commits, and old covered commits are deleted", async () => {
    const world = new World();
    const registry = new Registry();
    const compactor = world.compactor(
      { checkpointCommits: 10, logAgeMs: 7 * day, blockRetentionMs: 1000 * day },
      { registry },
    );
    const logOf = async (): Promise<string[]> =>
      (await Array.fromAsync(world.store.list("t/_delta_log/"))).map(({ key }) => key.slice(13));
    for (let i = 0; i < 9; i++) await world.add("t", pathAt(start + i));
    await compactor.runOnce();
    expect(await logOf()).toHaveLength(9);
    await world.add("t", pathAt(start + 9));
    await compactor.runOnce();
    expect((await logOf()).filter((name) => !name.endsWith(".json"))).toEqual([
      "00000000000000000009.checkpoint.parquet",
      "_last_checkpoint",
    ]);
    world.clock.now += 8 * day;
    for (let i = 0; i < 10; i++) await world.add("t", pathAt(world.clock.now + i));
    await compactor.runOnce();
    expect((await logOf())[0]).toBe("00000000000000000010.json");
    expect(await logOf()).toHaveLength(12);
    expect(await world.named("t")).toHaveLength(20);
    expect(await metricsOf(registry, "checkpoints")).toBe(2);
    expect(await metricsOf(registry, "deleted_commits")).toBe(11);
  });
});

async function metricsOf(registry: Registry, name: string): Promise<number> {
  const metric = await registry.getSingleMetric(`spoor_compactor_${name}_total`)!.get();
  return metric.values[0].value;
}

describe("instances", () => {
  it("may run at the same time", async () => {
    const { world, left } = await busyWorld();
    const all = [1, 2, 3].map(() => world.compactor({ removesPerCommit: 1 }));
    for (let round = 0; round < 3; round++) {
      const results = await Promise.all(all.map(async (one) => await one.runOnce()));
      for (const { failedTenants } of results) expect(failedTenants).toBe(0);
      await expectWhole(world);
      world.clock.now += hour;
    }
    expect(await world.objects()).toEqual(left);
  });

  it("run until they are stopped, with pauses that grow while they fail", async () => {
    const world = new World(new ManualClock(6));
    await world.add("t", pathAt(start - 15 * day));
    let broken = false;
    const store = faultStore(world.store, ({ kind }) =>
      broken && kind === "listFolders" ? "before" : "none",
    );
    const compactor = world.compactor({ intervalMs: 1000 }, { store });
    broken = true;
    compactor.start();
    compactor.start();
    await world.clock.sleptAll;
    await compactor.stop();
    expect(world.clock.sleeps).toEqual([2000, 4000, 8000, 8000, 8000, 8000]);
    expect((await world.named("t")).length).toBe(1);
    const again = new World(new ManualClock(2));
    await again.add("t", pathAt(start - 15 * day));
    const other = again.compactor({ intervalMs: 1000 }, { random: () => 0 });
    other.start();
    await again.clock.sleptAll;
    await other.stop();
    expect(again.clock.sleeps).toEqual([800, 800]);
    expect(await again.named("t")).toEqual([]);
  });

  it("stop in the middle of a cycle", async () => {
    const { world } = await busyWorld();
    const abort = new AbortController();
    const store = faultStore(world.store, ({ index }) => {
      if (index === 5) abort.abort();
      return "none";
    });
    const compactor = world.compactor({}, { store });
    await expect(compactor.runOnce(abort.signal)).rejects.toMatchObject({ code: "Canceled" });
    await expectWhole(world);
  });
});
