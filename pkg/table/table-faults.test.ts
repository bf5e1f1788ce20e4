/** Tests of racing writers, and of faults in every store call around a commit. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { hasCode } from "#pkg/errors/errors.ts";
import { type FaultPlan, failNth, failSeeded, faultStore } from "#pkg/objstore/fault.testing.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { decodeCommit } from "./commit.ts";
import { commitKey } from "./history.ts";
import { putsMax } from "./place.ts";
import type { Table } from "./delta-table.ts";
import type { Change, CommitResult, Snapshot } from "./table-model.ts";
import { addOf, pathOf, tableOf, thrownBy } from "./table.testing.ts";

/** Counts how often each path is added, and each version of each appId is reached, in the log. */
async function history(store: ObjectStore): Promise<{ adds: string[]; txns: string[] }> {
  const adds: string[] = [];
  const txns: string[] = [];
  for await (const { key } of store.list("t1/_delta_log/")) {
    const commit = decodeCommit(await store.get(key), key);
    adds.push(...commit.add.map((file) => file.path));
    txns.push(...[...commit.transactions].map(([appId, version]) => `${appId}@${version}`));
  }
  return { adds: adds.sort(), txns: txns.sort() };
}

function stepOf(writer: number, round: number): Change {
  const expectedVersion = round === 0 ? undefined : round * 10;
  return {
    ...addOf(`w${writer}-${round}`),
    columns: [{ name: `span.w${writer}`, type: "string" }, ...(addOf().columns ?? [])],
    transaction: { appId: `log/${writer}`, expectedVersion, version: (round + 1) * 10 },
  };
}

async function raceWriters(store: ObjectStore, writers: number, rounds: number): Promise<void> {
  const run = async (writer: number): Promise<void> => {
    const table = tableOf(store);
    for (let round = 0; round < rounds; round++) await table.commit(stepOf(writer, round));
  };
  await Promise.all(Array.from({ length: writers }, async (_, writer) => await run(writer)));
  const expected = Array.from({ length: writers * rounds }, (_, at) => ({
    path: pathOf(`w${at % writers}-${Math.floor(at / writers)}`),
    txn: `log/${at % writers}@${(Math.floor(at / writers) + 1) * 10}`,
  }));
  const { adds, txns } = await history(store);
  expect(adds).toEqual(expected.map(({ path }) => path).sort());
  expect(txns).toEqual(expected.map(({ txn }) => txn).sort());
  const snapshot = await tableOf(store).refresh();
  expect(snapshot.version).toBe(writers * rounds - 1);
  expect([...snapshot.files.keys()].sort()).toEqual(adds);
  expect(snapshot.transactions.size).toBe(writers);
  for (const version of snapshot.transactions.values()) expect(version).toBe(rounds * 10);
  expect(snapshot.columns.size).toBe(3 + writers);
}

test("ten writers with a table each over one store: every block exactly once", async () => {
  await raceWriters(new MemoryStore(), 10, 12);
});

test("six writers on a disk: every block exactly once", async () => {
  const root = await mkdtemp(join(tmpdir(), "spoor-table-"));
  try {
    await raceWriters(await openFsStore(root), 6, 6);
  } finally {
    await rm(root, { recursive: true });
  }
});

test("one table, many commits at the same time: every block exactly once", async () => {
  const store = new MemoryStore();
  const table = tableOf(store);
  const names = Array.from({ length: 30 }, (_, at) => `n${at}`);
  const results = await Promise.all(names.map(async (name) => await table.commit(addOf(name))));
  expect(new Set(results.map(({ version }) => version)).size).toBe(30);
  for (const [at, { snapshot, version }] of results.entries()) {
    expect(snapshot.version).toBe(version);
    expect(snapshot.files.has(pathOf(names[at]))).toBe(true);
  }
  expect((await history(store)).adds).toEqual(names.map(pathOf).sort());
});

test("of writers that race for one transaction one wins and the others fail", async () => {
  const store = new MemoryStore();
  await tableOf(store).commit(addOf("base"));
  const attempts = Array.from({ length: 8 }, async (_, at): Promise<string> => {
    const transaction = { appId: "log/4/0", expectedVersion: undefined, version: 5 };
    try {
      await tableOf(store).commit({ ...addOf(`r${at}`), transaction });
      return "won";
    } catch (error) {
      if (hasCode(error, "Conflict")) return error.reason;
      throw error;
    }
  });
  const outcomes = (await Promise.all(attempts)).sort();
  expect(outcomes).toEqual([...Array<string>(7).fill("transaction_changed"), "won"]);
  expect((await history(store)).adds).toHaveLength(2);
});

test("of compactors that race for one input one wins", async () => {
  const store = new MemoryStore();
  await tableOf(store).commit(addOf("a", "b"));
  const attempts = Array.from({ length: 5 }, async (_, at): Promise<string> => {
    const change = { ...addOf(`merged${at}`), remove: [pathOf("a"), pathOf("b")] };
    const table = tableOf(store);
    return await table.commit({ ...change, operation: "OPTIMIZE", dataChange: false }).then(
      () => "won",
      (error: unknown) => (hasCode(error, "Conflict") ? error.reason : String(error)),
    );
  });
  const outcomes = (await Promise.all(attempts)).sort();
  expect(outcomes).toEqual([...Array<string>(4).fill("input_gone"), "won"]);
  expect((await tableOf(store).refresh()).files.size).toBe(1);
});

/** Commits as callers must: repeats the change until the outcome is known. */
async function commitSurely(table: Table, change: Change): Promise<CommitResult | "before"> {
  for (let tries = 0; tries < 50; tries++) {
    try {
      return await table.commit(change);
    } catch (error) {
      if (hasCode(error, "Conflict") && error.reason === "already_committed") return "before";
      if (!hasCode(error, "Unavailable")) throw error;
    }
  }
  throw new Error("the commit never went through");
}

async function refreshSurely(table: Table): Promise<Snapshot> {
  for (let tries = 0; tries < 50; tries++) {
    try {
      return await table.refresh();
    } catch (error) {
      if (!hasCode(error, "Unavailable")) throw error;
    }
  }
  throw new Error("the refresh never went through");
}

/** Makes three commits of one writer, with another writer's in between, on a failing store. */
async function scenario(plan: FaultPlan): Promise<number> {
  const below = new MemoryStore();
  const store = faultStore(below, plan);
  const table = tableOf(store);
  await commitSurely(table, stepOf(0, 0));
  await tableOf(below).commit(stepOf(1, 0));
  await commitSurely(table, stepOf(0, 1));
  await tableOf(below).commit(stepOf(1, 1));
  await commitSurely(table, { ...stepOf(0, 2), remove: [pathOf("w0-0")] });
  const snapshot = await refreshSurely(table);
  const { adds, txns } = await history(below);
  const names = ["w0-0", "w0-1", "w0-2", "w1-0", "w1-1"];
  expect(adds).toEqual(names.map(pathOf));
  expect(txns).toEqual(["log/0@10", "log/0@20", "log/0@30", "log/1@10", "log/1@20"]);
  expect(snapshot.version).toBe(4);
  expect([...snapshot.files.keys()].sort()).toEqual(names.slice(1).map(pathOf));
  expect(Object.fromEntries(snapshot.transactions)).toEqual({ "log/0": 30, "log/1": 20 });
  expect(snapshot).toEqual(await tableOf(below).refresh());
  return store.faults;
}

test.each(["before", "after"] as const)(
  "the Nth call fails %s its effect, for all N",
  async (fault) => {
    let nth = 1;
    for (; (await scenario(failNth(nth, fault))) > 0; nth++) expect(nth).toBeLessThan(100);
    expect(nth, "the scenario makes a number of calls").toBeGreaterThan(10);
  },
);

test.each(Array.from({ length: 60 }, (_, seed) => seed))(
  "a third of calls fail, seed %d",
  async (seed) => {
    expect(await scenario(failSeeded(seed, 330))).toBeGreaterThanOrEqual(0);
  },
);

test("racing writers through failing stores: every block exactly once", async () => {
  for (let seed = 0; seed < 8; seed++) {
    const below = new MemoryStore();
    const run = async (writer: number): Promise<void> => {
      const table = tableOf(faultStore(below, failSeeded(seed * 100 + writer, 250)));
      for (let round = 0; round < 5; round++) await commitSurely(table, stepOf(writer, round));
    };
    await Promise.all(Array.from({ length: 5 }, async (_, writer) => await run(writer)));
    const { adds, txns } = await history(below);
    expect([adds.length, new Set(adds).size]).toEqual([25, 25]);
    expect([txns.length, new Set(txns).size]).toEqual([25, 25]);
    expect((await tableOf(below).refresh()).version).toBe(24);
  }
});

test("after a lost response the commit is found by its bytes, and one version is used", async () => {
  const below = new MemoryStore();
  const store = faultStore(below, (call) =>
    call.kind === "putIfAbsent" && call.index === 2 ? "after" : "none",
  );
  const { version } = await tableOf(store).commit(addOf("a"));
  expect(version).toBe(0);
  expect((await history(below)).adds).toEqual([pathOf("a")]);
});

test("a put that takes effect after the version was read as absent is one commit", async () => {
  const below = new MemoryStore();
  let late: (() => Promise<unknown>) | undefined;
  const store: ObjectStore = faultStore(below, () => "none");
  const putIfAbsent = store.putIfAbsent.bind(store);
  store.putIfAbsent = async (key, bytes) => {
    if (late === undefined) {
      late = async () => await below.putIfAbsent(key, bytes);
      throw new DOMException("the answer took too long", "TimeoutError");
    }
    await late();
    return await putIfAbsent(key, bytes);
  };
  const { version } = await tableOf(store).commit(addOf("a"));
  expect(version).toBe(0);
  expect((await history(below)).adds).toEqual([pathOf("a")]);
});

test("an unknown outcome while another writer takes the version: rebased", async () => {
  const below = new MemoryStore();
  await tableOf(below).commit(addOf("base"));
  const store = faultStore(below, (call) => {
    return call.kind === "putIfAbsent" && call.index <= 3 ? "before" : "none";
  });
  const table = tableOf(store);
  await table.refresh();
  await tableOf(below).commit(addOf("other"));
  expect((await table.commit(addOf("mine"))).version).toBe(2);
  expect((await history(below)).adds).toEqual(["base", "mine", "other"].map(pathOf));
});

test("if the store stays unavailable, the error says that the outcome is unknown", async () => {
  for (const fault of ["before", "after"] as const) {
    const below = new MemoryStore();
    let isAway = true;
    const store = faultStore(below, (call) => (isAway && call.index > 2 ? fault : "none"));
    const table = tableOf(store);
    const error = await thrownBy(table.commit(stepOf(0, 0)), "Unavailable");
    expect(error.reason).toBe("commit_outcome_unknown");
    expect(error.message).toContain(commitKey("t1", 0));
    expect(error.cause).toMatchObject({ reason: "injected" });
    // The hint, the list, then the puts and their reads.
    expect(store.calls).toBe(2 + 2 * putsMax);
    isAway = false;
    const again = await commitSurely(table, stepOf(0, 0));
    expect(again === "before").toBe(fault === "after");
    expect((await history(below)).adds).toEqual([pathOf("w0-0")]);
  }
});

test("an abort between puts: Canceled, and the outcome is unknown", async () => {
  const below = new MemoryStore();
  const abort = new AbortController();
  const error = (): Error => {
    abort.abort();
    return new Error("the connection broke behind the put");
  };
  const plan: FaultPlan = (call) => (call.kind === "putIfAbsent" ? "after" : "none");
  const store = faultStore(below, plan, { error });
  const commit = tableOf(store).commit(addOf("a"), { signal: abort.signal });
  expect((await thrownBy(commit, "Canceled")).reason).toBe("commit_outcome_unknown");
  expect((await history(below)).adds).toEqual([pathOf("a")]);
});

test("a failed refresh keeps what it read, and the next one reads the rest", async () => {
  const below = new MemoryStore();
  const writer = tableOf(below);
  for (let at = 0; at < 40; at++) await writer.commit(addOf(`n${at}`));
  const broken = commitKey("t1", 35);
  const store = faultStore(below, (call) =>
    call.key === broken && call.index <= 41 ? "before" : "none",
  );
  const table = tableOf(store);
  await thrownBy(table.refresh(), "Unavailable");
  expect(table.snapshot.version).toBe(34);
  const callsBefore = store.calls;
  expect(await table.refresh()).toEqual(writer.snapshot);
  expect(store.calls - callsBefore).toBe(1 + 5);
});
