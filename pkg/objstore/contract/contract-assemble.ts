/** Contract tests of `assemble`. */
import { expect, test } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  bytesOf,
  expectCode,
  keysOf,
  type MakeStore,
  patternOf,
  textOf,
  turnOfLoop,
} from "./contract-tools.ts";
import type { ObjectStore, Piece } from "#pkg/objstore/object-store.ts";

/** Shortest part that servers copy. */
const bound = 5 * 1024 * 1024;

export function describeAssembly(makeStore: MakeStore): void {
  describePieces(makeStore);
  describeLongRanges(makeStore);
  describeReplacing(makeStore);
  describeAssemblyRefusals(makeStore);
  describeAborts(makeStore);
}

/** Reads the pieces one by one and returns their concatenation. */
async function contentOf(store: ObjectStore, pieces: readonly Piece[]): Promise<Uint8Array> {
  const parts = pieces.map(async (piece) =>
    piece instanceof Uint8Array ? piece : await store.getRange(piece.key, piece.start, piece.end),
  );
  return Buffer.concat(await Promise.all(parts));
}

/** Assembles an object, and checks its content, its size and the list of all keys. */
async function expectAssembled(
  store: ObjectStore,
  key: string,
  pieces: readonly Piece[],
): Promise<void> {
  const expected = await contentOf(store, pieces);
  const before = await keysOf(store, "");
  await store.assemble(key, pieces);
  expect(Buffer.compare(await store.get(key), expected), key).toBe(0);
  expect((await store.head(key)).sizeBytes).toBe(expected.length);
  expect(new Set(await keysOf(store, ""))).toEqual(new Set([...before, key]));
}

function describePieces(makeStore: MakeStore): void {
  test("assemble: no piece, one, empty ones, and bytes and ranges in their order", async () => {
    const store = await makeStore();
    await store.put("a/odd name+%41 é", bytesOf("0123456789"));
    const key = "a/odd name+%41 é";
    await expectAssembled(store, "none", []);
    await expectAssembled(store, "empty", [new Uint8Array(0), new Uint8Array(0)]);
    await expectAssembled(store, "bytes", [bytesOf("only bytes")]);
    await expectAssembled(store, "range", [{ key, start: 3, end: 4 }]);
    await expectAssembled(store, "whole", [{ key, start: 0, end: 10 }]);
    const mixed: Piece[] = [
      bytesOf("<"),
      { key, start: 8, end: 10 },
      { key, start: 0, end: 2 },
      new Uint8Array(0),
      { key, start: 2, end: 3 },
      { key: "bytes", start: 0, end: 4 },
      bytesOf(">"),
    ];
    await store.assemble("deep/er/mixed", mixed);
    expect(textOf(await store.get("deep/er/mixed"))).toBe("<89012only>");
  });

  test("assemble: many small pieces", async () => {
    const store = await makeStore();
    const sources = ["s/0", "s/1", "s/2"];
    for (const key of sources) await store.put(key, patternOf(50_000));
    const pieces = Array.from({ length: 300 }, (_, i): Piece => {
      if (i % 4 === 0) return bytesOf(`piece ${i}`);
      return { key: sources[i % 3], start: i * 7, end: i * 150 + 8 };
    });
    await expectAssembled(store, "many", pieces);
  });

  test("assemble: the caller owns the bytes that it passes and reads", async () => {
    const store = await makeStore();
    const given = bytesOf("given");
    await store.put("source", bytesOf("source"));
    await store.assemble("k", [given, { key: "source", start: 0, end: 6 }]);
    given.fill(0);
    (await store.get("k")).fill(0);
    expect(textOf(await store.get("k"))).toBe("givensource");
    await store.put("source", bytesOf("other!"));
    await store.delete("source");
    expect(textOf(await store.get("k"))).toBe("givensource");
  });
}

function describeLongRanges(makeStore: MakeStore): void {
  test("assemble: ranges around the shortest part that servers copy", async () => {
    const store = await makeStore();
    const size = 2 * bound + 3;
    await store.put("long", patternOf(size));
    await store.put("exact", patternOf(bound));
    const long = (start: number, length: number): Piece => {
      return { key: "long", start, end: start + length };
    };
    const lists: Piece[][] = [
      [long(0, bound - 1)],
      [long(0, bound)],
      [{ key: "exact", start: 0, end: bound }],
      [long(0, bound + 1)],
      [long(1, bound)],
      [long(0, size)],
      [long(7, bound), bytesOf("a short last part")],
      [bytesOf("a short first part"), long(0, bound + 18)],
      [bytesOf("a short first part"), long(0, size)],
      [bytesOf("all but one byte"), long(3, 2 * bound - 17)],
      [long(5, bound), bytesOf("x"), long(9, bound), { key: "exact", start: 1, end: 9 }],
      [long(0, bound - 1), long(bound + 1, bound + 1), long(0, bound), bytesOf("end")],
      [long(0, 2 * bound), patternOf(bound - 1), long(2, bound), patternOf(bound + 1)],
    ];
    for (const [i, pieces] of lists.entries()) {
      await expectAssembled(store, `made/${i}`, pieces);
      await store.delete(`made/${i}`);
    }
  });

  test("assemble: more whole long objects than one composition takes, bytes between", async () => {
    const store = await makeStore();
    const sizeBytes = bound + 1;
    await store.put("block", patternOf(sizeBytes));
    const whole = { key: "block", start: 0, end: sizeBytes };
    const pieces = [...Array.from({ length: 33 }, () => whole), bytesOf("footer")];
    pieces.splice(1, 0, bytesOf("between"));
    await store.assemble("all", pieces);
    expect(await keysOf(store, "")).toEqual(["all", "block"]);
    expect((await store.head("all")).sizeBytes).toBe(33 * sizeBytes + 13);
    const block = patternOf(sizeBytes);
    for (let i = 0; i < 33; i++) {
      const start = i * sizeBytes + (i === 0 ? 0 : 7);
      const read = await store.getRange("all", start, start + sizeBytes);
      expect(Buffer.compare(read, block), `block ${i}`).toBe(0);
    }
    const end = 33 * sizeBytes + 13;
    expect(textOf(await store.getRange("all", sizeBytes, sizeBytes + 7))).toBe("between");
    expect(textOf(await store.getRange("all", end - 6, end))).toBe("footer");
  });
}

function describeReplacing(makeStore: MakeStore): void {
  test("assemble: replaces an existing object, also one of its own sources", async () => {
    const store = await makeStore();
    await store.put("k", bytesOf("old"));
    await store.assemble("k", [bytesOf("new")]);
    expect(textOf(await store.get("k"))).toBe("new");
    const own = { key: "k", start: 0, end: 3 };
    await store.assemble("k", [bytesOf("twice "), own, bytesOf(" "), own]);
    expect(textOf(await store.get("k"))).toBe("twice new new");
    expect(await store.putIfAbsent("k", bytesOf("x"))).toBe(false);
    const long = patternOf(bound + 1);
    await store.put("long", long);
    const whole = { key: "long", start: 0, end: long.length };
    await expectAssembled(store, "copy", [whole]);
    await store.assemble("long", [bytesOf("before "), whole]);
    const expected = Buffer.concat([bytesOf("before "), long]);
    expect(Buffer.compare(await store.get("long"), expected)).toBe(0);
  });

  test("assemble: a concurrent reader sees the old object or the new one", async () => {
    const store = await makeStore();
    const sizes = [bound + 9, bound + 11];
    const fills = sizes.map((size, i) => new Uint8Array(size).fill(i + 1));
    for (const [i, bytes] of fills.entries()) await store.put(`s/${i}`, bytes);
    const make = async (i: number): Promise<void> =>
      await store.assemble("k", [{ key: `s/${i}`, start: 1, end: sizes[i] }, Uint8Array.of(i + 1)]);
    await make(0);
    const making = (async () => {
      for (let round = 0; round < 4; round++) await make((round + 1) % 2);
      return true;
    })();
    for (let isDone = false; !isDone;) {
      const read = await store.get("k");
      expect(Buffer.compare(read, fills[read[0] - 1])).toBe(0);
      isDone = await Promise.race([making, turnOfLoop()]);
    }
  });

  test("assemble and putIfAbsent: the key of an assembled object is taken", async () => {
    const store = await makeStore();
    await store.assemble("k", []);
    expect(await store.putIfAbsent("k", bytesOf("x"))).toBe(false);
    expect(await store.get("k")).toHaveLength(0);
  });
}

function describeAssemblyRefusals(makeStore: MakeStore): void {
  test("assemble: names a source that is missing or too short, and writes nothing", async () => {
    const store = await makeStore();
    const long = patternOf(bound + 5);
    for (const key of ["a/source", "old"]) await store.put(key, long);
    const good = { key: "a/source", start: 0, end: bound + 5 };
    const bad: [Piece[], "NotFound" | "Corrupt", string][] = [
      [[{ key: "gone", start: 0, end: 1 }], "NotFound", "gone"],
      [[good, { key: "gone", start: 0, end: 2 * bound }, good], "NotFound", "gone"],
      [[bytesOf("x"), good, { key: "a", start: 0, end: 1 }], "NotFound", "a"],
      [[good, { key: "old/x", start: 0, end: 1 }], "NotFound", "old/x"],
      [[{ ...good, end: bound + 6 }], "Corrupt", "a/source"],
      [[good, { ...good, start: bound + 5, end: bound + 6 }], "Corrupt", "a/source"],
      [[good, { key: "a/source", start: 3 * bound, end: 5 * bound }], "Corrupt", "a/source"],
    ];
    for (const [pieces, code, named] of bad) {
      for (const target of ["old", "new", "a/source"]) {
        const error: unknown = await store.assemble(target, pieces).then(
          () => "no error",
          (thrown: unknown) => thrown,
        );
        expect(error).toBeInstanceOf(SpoorError);
        expect(error).toMatchObject({ code });
        expect(String(error)).toContain(`object ${named} `);
      }
    }
    expect(await keysOf(store, "")).toEqual(["a/source", "old"]);
    for (const key of ["a/source", "old"]) {
      expect(Buffer.compare(await store.get(key), long)).toBe(0);
    }
  });

  test("assemble: refuses invalid ranges and too many pieces", async () => {
    const store = await makeStore();
    await store.put("k", bytesOf("0123456789"));
    for (const [start, end] of [
      [0, 0],
      [-1, 1],
      [5, 4],
      [0.5, 2],
      [0, Number.NaN],
      [0, Infinity],
      [0, 2 ** 50],
    ]) {
      const pieces = [bytesOf("x"), { key: "k", start, end }];
      await expectCode(store.assemble("new", pieces), "InvalidInput");
    }
    const many = Array.from({ length: 10_001 }, () => new Uint8Array(0));
    await expectCode(store.assemble("new", many), "InvalidInput");
    expect(await keysOf(store, "")).toEqual(["k"]);
  });
}

function describeAborts(makeStore: MakeStore): void {
  test("assemble: an abort leaves the old object or the new one", async () => {
    const store = await makeStore();
    const [old, long] = [bytesOf("old"), patternOf(3 * bound)];
    await store.put("k", old);
    await store.put("long", long);
    const piece = { key: "long", start: 1, end: 3 * bound };
    for (const turns of [0, 1, 3, 10, 30]) {
      const abort = new AbortController();
      const { signal } = abort;
      const made = store.assemble("k", [piece, bytesOf("x"), piece], { signal }).then(
        () => "made",
        (error: unknown) => error,
      );
      for (let turn = 0; turn < turns; turn++) await turnOfLoop();
      abort.abort();
      const result = await made;
      if (result !== "made") expect(result).toMatchObject({ code: "Canceled" });
      const read = await store.get("k");
      expect([old.length, 2 * (3 * bound - 1) + 1]).toContain(read.length);
      if (result === "made") expect(read.length).toBeGreaterThan(old.length);
      expect(await keysOf(store, "")).toEqual(["k", "long"]);
      await store.put("k", old);
    }
  });
}
