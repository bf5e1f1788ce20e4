/** Tests of checkpoints, which a fresh process reads instead of the whole log. */
import * as fc from "fast-check";
import { expect, test, inject } from "vitest";
import { hasCode } from "#pkg/errors/errors.ts";
import { countStore } from "#pkg/objstore/wrap/count.ts";
import { failNth, faultStore } from "#pkg/objstore/fault.testing.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { decodeCheckpoint, encodeCheckpoint } from "./checkpoint-parquet.ts";
import { decodeCheckpointLines, encodeCheckpointLines } from "./checkpoint-lines.ts";
import { checkpointKey, lastCheckpoint } from "./checkpoint.ts";
import type { Commit } from "./commit.ts";
import { commitKey } from "./history.ts";
import type { Snapshot } from "./table-model.ts";
import { snapshotOfCheckpoint } from "./snapshot.ts";
import { openTable, type Table } from "./delta-table.ts";
import { addOf, blockOf, nowMs, pathOf, tableOf, testClock, thrownBy } from "./table.testing.ts";
import { openLog } from "#pkg/log/pino-log.ts";

const policy = { commitsMin: 1, removedBeforeMs: 0 };
const hourMs = 3_600_000;
/** A time at which all commits of these tests are old. */
const laterClock = { ...testClock, nowMs: () => nowMs + 2 * hourMs };

/** Deletes what a checkpoint covers, hours later. */
async function cleanUpLater(store: ObjectStore): Promise<number> {
  return await tableOf(store, "t1", laterClock).cleanUp(nowMs + hourMs);
}

async function grown(commits: number): Promise<{ store: MemoryStore; writer: Table }> {
  const store = new MemoryStore({ clock: testClock });
  const writer = tableOf(store);
  for (let at = 0; at < commits; at++) {
    const expectedVersion = at === 0 ? undefined : at;
    const transaction = { appId: "log/4/0", expectedVersion, version: at + 1 };
    await writer.commit({ ...addOf(`b${at}`), transaction });
  }
  return { store, writer };
}

/** A snapshot without the way its metadata is written. */
function plain({ version, files, transactions, columns, tombstones }: Snapshot): unknown {
  return { version, files, transactions, columns, tombstones };
}

async function keysOf(store: ObjectStore): Promise<string[]> {
  return (await Array.fromAsync(store.list("t1/_delta_log/"))).map(({ key }) => key.slice(14));
}

test("a fresh table reads hint, checkpoint, list and later commits, and gets equal content", async () => {
  const { store, writer } = await grown(30);
  await writer.commit({ remove: [pathOf("b3")], operation: "DELETE", dataChange: true });
  expect(await writer.checkpoint(policy)).toBe(true);
  await writer.commit({ ...addOf("x"), columns: [{ name: "span.new", type: "double" }] });
  await writer.commit(addOf("y"));
  const counted = countStore(store);
  const reader = tableOf(counted);
  expect(plain(await reader.refresh())).toEqual(plain(writer.snapshot));
  const { get, list } = counted.counts;
  expect([get.requests, list.requests]).toEqual([2 + 2, 1]);
  // It works like any other: it detects conflicts and knows the columns.
  const conflict = await thrownBy(reader.commit(addOf("b3")), "Conflict");
  expect(conflict.reason).toBe("path_exists");
  expect((await reader.commit(addOf("z"))).version).toBe(33);
  expect(plain(await writer.refresh())).toEqual(plain(reader.snapshot));
});

test(
  "thousands of blocks with their tags and 64-bit statistics",
  { timeout: 120_000 },
  async () => {
    const store = new MemoryStore();
    const writer = tableOf(store);
    const tags = { "spoor.bloom": "x".repeat(700), "spoor.partition": "1/4" };
    for (let at = 0; at < 10; at++) {
      const add = Array.from({ length: 300 }, (_, i) => ({ ...blockOf(`${at}-${i}`), tags }));
      await writer.commit({ ...addOf(), add });
    }
    await writer.checkpoint(policy);
    const counted = countStore(store);
    const { files } = await tableOf(counted).refresh();
    expect(files).toEqual(writer.snapshot.files);
    expect(counted.counts.get.requests).toBe(2);
  },
);

test("a checkpoint is due after enough commits, and drops old tombstones", async () => {
  const { store, writer } = await grown(9);
  const due = { commitsMin: 10, removedBeforeMs: nowMs };
  expect(await writer.checkpoint(due)).toBe(false);
  await writer.commit({ remove: [pathOf("b3")], operation: "DELETE", dataChange: true });
  expect(writer.snapshot.tombstones.size).toBe(1);
  const other = tableOf(store);
  expect(await other.checkpoint(due)).toBe(true);
  expect(other.snapshot.tombstones.size).toBe(1);
  expect(await other.checkpoint(due)).toBe(false);
  expect(await writer.checkpoint(due), "the other's checkpoint counts").toBe(false);
  const later = { commitsMin: 1, removedBeforeMs: nowMs + 1 };
  await writer.commit(addOf("x"));
  expect(await writer.checkpoint(later)).toBe(true);
  expect(writer.snapshot.tombstones.size).toBe(0);
  expect((await tableOf(store).refresh()).tombstones.size).toBe(0);
  expect(await tableOf(new MemoryStore()).checkpoint(policy), "no table").toBe(false);
});

test("clean-up deletes what a checkpoint covers and is old, from the first one on", async () => {
  const { store, writer } = await grown(12);
  expect(await cleanUpLater(store)).toBe(0);
  await writer.checkpoint(policy);
  const before = plain(writer.snapshot);
  await writer.commit(addOf("x"));
  await writer.checkpoint(policy);
  await writer.commit(addOf("y"));
  expect(await writer.cleanUp(nowMs + hourMs), "all are young").toBe(0);
  const lagging = tableOf(store);
  await lagging.refresh();
  expect(await cleanUpLater(store)).toBe(13);
  expect(await keysOf(store)).toEqual([
    "00000000000000000012.checkpoint.parquet",
    "00000000000000000012.json",
    "00000000000000000013.json",
    "_last_checkpoint",
  ]);
  expect(plain(await tableOf(store).refresh())).toEqual(plain(writer.snapshot));
  expect(before).not.toEqual(plain(writer.snapshot));
  expect((await lagging.commit(addOf("z"))).version).toBe(14);
});

test("a reader whose next commits were deleted continues from the checkpoint", async () => {
  const { store, writer } = await grown(3);
  const reader = tableOf(store);
  await reader.refresh();
  for (let at = 0; at < 5; at++) await writer.commit(addOf(`late${at}`));
  await writer.checkpoint(policy);
  await writer.commit(addOf("last"));
  await cleanUpLater(store);
  expect(plain(await reader.refresh())).toEqual(plain(writer.snapshot));
  // The same holds without the hint.
  await store.delete("t1/_delta_log/_last_checkpoint");
  expect(plain(await tableOf(store).refresh())).toEqual(plain(writer.snapshot));
});

test("a writer that slept while its next version was cleaned up loses nothing", async () => {
  for (const when of ["before the commit", "between plan and put"] as const) {
    const store = new MemoryStore({ clock: testClock });
    let now = nowMs;
    const clock = { ...testClock, nowMs: () => now };
    const sleep = async (): Promise<void> => {
      if (now !== nowMs) return;
      for (let at = 0; at < 5; at++) await tableOf(store).commit(addOf(`other${at}`));
      await tableOf(store).checkpoint(policy);
      await tableOf(store).commit(addOf("last"));
      expect(await cleanUpLater(store)).toBe(5);
      now += 2 * hourMs;
    };
    const slow = faultStore(store, () => "none");
    const putIfAbsent = slow.putIfAbsent.bind(slow);
    slow.putIfAbsent = async (...args) => {
      if (when === "between plan and put" && sleeper.snapshot.version >= 0) await sleep();
      return await putIfAbsent(...args);
    };
    const sleeper = tableOf(slow, "t1", clock);
    await sleeper.commit(addOf("first"));
    if (when === "before the commit") await sleep();
    const { version } = await sleeper.commit(addOf("mine"));
    expect(version, when).toBe(7);
    const { files } = await tableOf(store).refresh();
    expect(files.has(pathOf("mine")), when).toBe(true);
    expect(files.size, when).toBe(8);
  }
});

test("an interrupted clean-up leaves a readable table", async () => {
  const { store, writer } = await grown(10);
  await writer.checkpoint(policy);
  await writer.commit(addOf("last"));
  for (const version of [0, 1, 2, 5, 8]) await store.delete(commitKey("t1", version));
  await store.delete("t1/_delta_log/_last_checkpoint");
  expect(plain(await tableOf(store).refresh())).toEqual(plain(writer.snapshot));
});

test("a reader far behind jumps to a checkpoint instead of reading each commit", async () => {
  const { store, writer } = await grown(2);
  const counted = countStore(store);
  const reader = tableOf(counted);
  await reader.refresh();
  for (let at = 0; at < 120; at++) await writer.commit(addOf(`late${at}`));
  await writer.checkpoint(policy);
  await writer.commit(addOf("last"));
  const before = counted.counts.get.requests;
  expect(plain(await reader.refresh())).toEqual(plain(writer.snapshot));
  expect(counted.counts.get.requests - before).toBe(2);
});

test("a bad checkpoint or hint is replaced by commits or an older checkpoint; else Corrupt", async () => {
  const good = new Map<string, Uint8Array>();
  const { store, writer } = await grown(6);
  await writer.checkpoint(policy);
  await writer.commit(addOf("x"));
  await writer.checkpoint(policy);
  await writer.commit(addOf("y"));
  for await (const { key } of store.list("")) good.set(key, await store.get(key));
  const expected = plain(writer.snapshot);
  const newest = checkpointKey("t1", 6);
  const hint = "t1/_delta_log/_last_checkpoint";
  const bytes = good.get(newest)!;
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  const damages: [string, Uint8Array | undefined][] = [
    [newest, bytes.slice(0, bytes.length / 2)],
    [newest, new Uint8Array(0)],
    [newest, new Uint8Array(1000).fill(7)],
    [newest, undefined],
    [hint, text("{")],
    [hint, text('{"version":-1}')],
    [hint, text('{"version":99}')],
    [hint, text('{"version":6,"parts":2}')],
    [hint, undefined],
  ];
  for (const [key, damaged] of damages) {
    if (damaged === undefined) await store.delete(key);
    else await store.put(key, damaged);
    expect(plain(await tableOf(store).refresh()), key).toEqual(expected);
    await store.put(key, good.get(key)!);
  }
  // With the commits gone, the older checkpoint and its later commits are used.
  for (const version of [0, 1, 2, 3, 4]) await store.delete(commitKey("t1", version));
  await store.put(newest, bytes.slice(0, bytes.length / 2));
  expect(plain(await tableOf(store).refresh())).toEqual(expected);
  await store.put(checkpointKey("t1", 5), bytes.slice(0, 100));
  expect((await thrownBy(tableOf(store).refresh(), "Corrupt")).reason).toBe("checkpoint_needed");
  await thrownBy(cleanUpLater(store), "Corrupt");
  expect(await keysOf(store)).toContain("00000000000000000005.json");
});

test("a checkpoint whose own commit is gone lost what came after", async () => {
  const { store, writer } = await grown(5);
  await writer.checkpoint(policy);
  for (let version = 0; version < 5; version++) await store.delete(commitKey("t1", version));
  expect(plain(await tableOf(store).refresh())).toEqual(plain(writer.snapshot));
  await store.put(checkpointKey("t1", 4), new Uint8Array(9));
  await thrownBy(tableOf(store).refresh(), "Corrupt");
});

test(
  "fail the Nth call of checkpoint and clean-up: the table stays",
  { timeout: 240_000 },
  async () => {
    for (const fault of ["before", "after"] as const) {
      for (let nth = 1; ; nth += inject("depth") === 1 ? 5 : 1) {
        const { store, writer } = await grown(2);
        const expected = plain(writer.snapshot);
        const faulty = faultStore(store, failNth(nth, fault));
        await tableOf(faulty).checkpoint(policy).catch(ignoreInjectedFault);
        await cleanUpLater(faulty).catch(ignoreInjectedFault);
        expect(plain(await tableOf(store).refresh()), `${fault} ${nth}`).toEqual(expected);
        if (faulty.faults > 0) continue;
        expect(await keysOf(store)).toHaveLength(3);
        break;
      }
    }
  },
);

test("metadata of other engines is kept if the Delta Lake protocol defines the field", async () => {
  const { store, writer } = await grown(1);
  const { metaData } = writer.snapshot;
  const json = {
    ...metaData!.json,
    name: "traces",
    description: "ours",
    configuration: { "spoor.formatVersion": "1", "delta.appendOnly": "false", é: "ü" },
    schemaString: '{"type":"struct","fields":[]}',
  };
  await store.put(
    commitKey("t1", 1),
    new TextEncoder().encode(`${JSON.stringify({ metaData: json })}\n`),
  );
  await tableOf(store).checkpoint(policy);
  const found = await tableOf(store).refresh();
  expect(found.metaData!.json).toMatchObject({
    name: "traces",
    description: "ours",
    configuration: json.configuration,
  });
});

test("actions round-trip through Parquet", () => {
  const word = fc.string({ unit: "grapheme", maxLength: 8 });
  const map = fc.dictionary(word, word, { maxKeys: 4 });
  const uint = fc.nat({ max: Number.MAX_SAFE_INTEGER });
  const add = fc.record({
    path: word,
    partitionValues: map,
    size: uint,
    modificationTime: uint,
    dataChange: fc.boolean(),
    stats: word,
    tags: map,
  });
  const remove = fc.record(
    { path: word, deletionTimestamp: uint, dataChange: fc.boolean(), size: uint },
    { requiredKeys: ["path"] },
  );
  const txn = fc.record({ appId: word, version: uint });
  const action = fc.oneof(
    add.map((value) => ({ add: value })),
    remove.map((value) => ({ remove: value })),
    txn.map((value) => ({ txn: value })),
  );
  const sorted = (lines: string): unknown[] =>
    lines
      .trimEnd()
      .split("\n")
      .sort()
      .map((line) => JSON.parse(line) as unknown);
  fc.assert(
    fc.property(fc.array(action, { minLength: 1, maxLength: 30 }), (actions) => {
      const lines = actions.map((one) => `${JSON.stringify(one)}\n`).join("");
      const again = decodeCheckpoint(encodeCheckpoint(lines));
      expect(sorted(again)).toHaveLength(actions.length);
      for (const one of actions) expect(sorted(again)).toContainEqual(one);
    }),
    { numRuns: 30 },
  );
});

test("a checkpoint that cannot be read is reported once, with its name", async () => {
  const { store, writer } = await grown(3);
  await writer.checkpoint(policy);
  await store.put(checkpointKey("t1", 2), new Uint8Array(5));
  const warnings: unknown[] = [];
  const log = openLog("silent");
  const child = { ...log, warn: (fields: unknown) => void warnings.push(fields) };
  const spy = Object.assign(Object.create(log) as typeof log, { child: () => child });
  await openTable({ store, tenant: "t1", clock: testClock, log: spy }).refresh();
  expect(warnings).toEqual([{ error: expect.stringContaining(checkpointKey("t1", 2)) }]);
});

test("any flipped bit of a checkpoint's actions is detected or has no effect", async () => {
  const { writer } = await grown(2);
  const { snapshot } = writer;
  const lines = encodeCheckpointLines(snapshot);
  const at = { key: "k", version: snapshot.version };
  const facts = (commit: Commit): unknown =>
    plain(snapshotOfCheckpoint(snapshot.version, commit, "k"));
  const original = facts(await decodeCheckpointLines(lines, at));
  let noticed = 0;
  for (let bit = 0; bit < lines.length * 8; bit += 3) {
    const flipped = Uint8Array.from(lines);
    flipped[bit >> 3] ^= 1 << (bit & 7);
    try {
      expect(facts(await decodeCheckpointLines(flipped, at)), `bit ${bit}`).toEqual(original);
    } catch (error) {
      // The Parquet reader refuses text that is not UTF-8; here it is the decoder of text.
      if (!hasCode(error, "Corrupt") && !(error instanceof TypeError)) throw error;
      noticed++;
    }
  }
  expect(noticed).toBeGreaterThan(lines.length * 2);
});

test("a checkpoint without a checksum, or with one for another version, is read", async () => {
  const { writer } = await grown(2);
  const { version } = writer.snapshot;
  const text = new TextDecoder().decode(encodeCheckpointLines(writer.snapshot));
  const expected = new Map(writer.snapshot.transactions);
  for (const other of ['"spoor.other":"1"', `"spoor.checkpoint":"${version + 1}:7"`]) {
    const lines = text.replace(/"spoor\.checkpoint":"[^"]+"/u, other);
    expect(lines).not.toBe(text);
    const decoded = await decodeCheckpointLines(new TextEncoder().encode(lines), {
      key: "k",
      version,
    });
    expect(decoded.transactions).toEqual(expected);
  }
});

test("a checksum that another engine copied into the table is not written again", async () => {
  const { writer } = await grown(2);
  const { snapshot } = writer;
  const metaData = snapshot.metaData!;
  const configuration = { ...(metaData.json.configuration as object), "spoor.checkpoint": "0:5" };
  const taken = {
    ...snapshot,
    metaData: { ...metaData, json: { ...metaData.json, configuration } },
  };
  const at = { key: "k", version: snapshot.version };
  const decoded = await decodeCheckpointLines(encodeCheckpointLines(taken), at);
  expect(decoded.transactions).toEqual(new Map(snapshot.transactions));
  expect(encodeCheckpointLines(taken)).toEqual(encodeCheckpointLines(snapshot));
});

test("a damaged hint is ignored, and a list finds the checkpoint", async () => {
  const { store, writer } = await grown(12);
  expect(await writer.checkpoint(policy)).toBe(true);
  const key = "t1/_delta_log/_last_checkpoint";
  const text = new TextDecoder().decode(await store.get(key));
  expect(text).toContain('"version":11');
  await store.put(key, new TextEncoder().encode(text.replace('"version":11', '"version":10')));
  expect(await lastCheckpoint({ store, tenant: "t1" })).toBeUndefined();
  expect(plain(await tableOf(store).refresh())).toEqual(plain(writer.snapshot));
});

/** The store injects faults, so this call may fail. */
function ignoreInjectedFault(): void {}
