/** Tests with truncated files, flipped bits, random bytes and missing files. */
import {
  cpSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { execFileSync } from "node:child_process";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, inject } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import { SEGMENT_HEADER_BYTES } from "./format.ts";
import { openFileLogReader } from "./file-log-reader.ts";
import { cutFile, openTestLog, patchFile, readAll, TempDir } from "./span-log.testing.ts";
import type { SpanLog } from "./span-log.ts";

const RECORDS = 30;
const textOf = (i: number): string => `record ${i} `.padEnd(60 + ((i * 37) % 90), "abc");

/** A closed log with `RECORDS` records in several segments of partition 0; tests copy it. */
let golden: TempDir;
beforeAll(async () => {
  golden = new TempDir();
  await using log = await openTestLog(golden.path);
  for (let i = 0; i < RECORDS; i++) await log.append(0, "acme", Buffer.from(textOf(i)));
});
afterAll(() => golden[Symbol.dispose]());

function copyGolden(): TempDir {
  const dir = new TempDir();
  cpSync(golden.path, dir.path, { recursive: true });
  return dir;
}

function segmentsOf(dir: TempDir): { path: string; first: number; end: number; bytes: number }[] {
  const names = readdirSync(`${dir.path}/p0`)
    .filter((name) => name.endsWith(".seg"))
    .sort();
  const firsts = names.map((name) => Number(name.slice(0, 20)));
  return names.map((name, i) => {
    const path = `${dir.path}/p0/${name}`;
    return { path, first: firsts[i], end: firsts[i + 1] ?? RECORDS, bytes: statSync(path).size };
  });
}

/** Opens the log; checks that readable records are right and others reported. Returns the lost. */
async function openAndCheck(dir: TempDir): Promise<{ log: SpanLog; lost: number[] }> {
  const log = await openTestLog(dir.path);
  const end = log.durableEnd(0);
  expect(end).toBeLessThanOrEqual(RECORDS);
  const { records, gaps } = readAll(dir.path, 0, { from: 0, to: end });
  for (const { offset, tenant, text } of records) {
    expect([tenant, text]).toEqual(["acme", textOf(offset)]);
  }
  const lost = offsetsOf(gaps);
  expect([...records.map(({ offset }) => offset), ...lost].sort((a, b) => a - b)).toEqual(
    Array.from({ length: end }, (_, i) => i),
  );
  // The log and the reader must agree on the lost offsets.
  expect(offsetsOf(log.damage.filter(({ kind }) => kind === "lost_records"))).toEqual(lost);
  expect(gaps.every(({ reason }) => reason === "lost")).toBe(true);
  return { log, lost };
}

function offsetsOf(ranges: readonly { fromOffset: number; toOffset: number }[]): number[] {
  return ranges.flatMap(({ fromOffset, toOffset }) =>
    Array.from({ length: toOffset - fromOffset }, (_, i) => fromOffset + i),
  );
}

/** Checks that the log accepts records after its end, and reopens without further damage. */
async function appendAndReopen(dir: TempDir, log: SpanLog): Promise<void> {
  const end = log.durableEnd(0);
  const { offset } = await log.append(0, "acme", Buffer.from(`after ${end}`));
  expect(offset).toBe(end);
  const damages = log.damage.filter(({ kind }) => kind === "lost_records");
  await log.close();
  const again = await openTestLog(dir.path);
  expect(again.durableEnd(0)).toBe(end + 1);
  expect(again.damage.filter(({ kind }) => kind === "lost_records")).toEqual(damages);
  expect(again.stats().truncatedTailsTotal).toBe(0);
  await again.close();
  expect(readAll(dir.path, 0, { from: end, to: end + 1 }).records[0].text).toBe(`after ${end}`);
}

describe("a torn end", () => {
  it("cut at every byte of the last segment loses only what was cut", async () => {
    const last = segmentsOf(golden).at(-1)!;
    let pos = SEGMENT_HEADER_BYTES;
    const ends = [pos];
    for (let i = last.first; i < RECORDS; i++) ends.push((pos += 52 + 4 + textOf(i).length));
    expect(pos).toBe(last.bytes);
    const step = inject("depth") === 1 ? 7 : 1;
    for (let size = 0; size < last.bytes; size += step) {
      using dir = copyGolden();
      cutFile(segmentsOf(dir).at(-1)!.path, size);
      const { log, lost } = await openAndCheck(dir);
      expect(lost).toEqual([]);
      expect(log.damage).toEqual([]);
      const whole = ends.filter((end) => end <= size).length;
      expect(log.durableEnd(0)).toBe(last.first + Math.max(0, whole - 1));
      expect(log.stats().truncatedTailsTotal).toBe(ends.includes(size) ? 0 : 1);
      await appendAndReopen(dir, log);
    }
  });

  it("of zeros, noise or half a group is truncated", async () => {
    const noise = fc.oneof(
      fc.nat(3000).map((length) => new Uint8Array(length)),
      fc.uint8Array({ maxLength: 300 }),
      fc.nat(500).map((from) => readFileSync(segmentsOf(golden)[0].path).subarray(from)),
    );
    await fc.assert(
      fc.asyncProperty(noise, async (tail) => {
        using dir = copyGolden();
        const last = segmentsOf(dir).at(-1)!;
        patchFile(last.path, last.bytes, tail);
        const { log, lost } = await openAndCheck(dir);
        expect([log.durableEnd(0), lost]).toEqual([RECORDS, []]);
        expect(log.stats().truncatedTailsTotal).toBe(tail.length > 0 ? 1 : 0);
        expect(statSync(last.path).size).toBe(last.bytes);
        await appendAndReopen(dir, log);
      }),
      { numRuns: 30 * inject("depth") },
    );
  });
});

describe("damage in the middle", () => {
  it("a flipped bit anywhere loses at most its own record, loudly", async () => {
    const [first, ...others] = segmentsOf(golden);
    const last = others.at(-1)!;
    for (const segment of [first, last]) {
      for (let byte = 0; byte < segment.bytes; byte += inject("depth") === 1 ? 13 : 1) {
        using dir = copyGolden();
        const bytes = readFileSync(segment.path);
        bytes[byte] ^= 1 << (byte & 7);
        writeFileSync(segmentsOf(dir).find(({ first }) => first === segment.first)!.path, bytes);
        const { log, lost } = await openAndCheck(dir);
        if (byte < SEGMENT_HEADER_BYTES) {
          expect(lost).toEqual([]);
          expect(log.durableEnd(0)).toBe(RECORDS);
          expect(log.damage).toMatchObject([{ kind: "segment_header", fromOffset: segment.first }]);
        } else if (log.durableEnd(0) === RECORDS) {
          expect(lost).toHaveLength(1);
          expect(log.stats().damagesTotal).toBe(1);
        } else {
          // The very last record cannot be distinguished from an unfinished write.
          expect([log.durableEnd(0), lost]).toEqual([RECORDS - 1, []]);
          expect(log.stats().truncatedTailsTotal).toBe(1);
        }
        await appendAndReopen(dir, log);
      }
    }
  });

  it("any patches of noise are detected, and no record is invented", async () => {
    const patches = fc.array(
      fc.record({ segment: fc.nat(9), at: fc.nat(1200), bytes: fc.uint8Array({ maxLength: 200 }) }),
      { minLength: 1, maxLength: 4 },
    );
    await fc.assert(
      fc.asyncProperty(patches, async (list) => {
        using dir = copyGolden();
        for (const { segment, at, bytes } of list) {
          const files = segmentsOf(dir);
          const { path, bytes: size } = files[segment % files.length];
          patchFile(path, at % size, bytes);
        }
        const { log } = await openAndCheck(dir);
        await appendAndReopen(dir, log);
      }),
      { numRuns: 40 * inject("depth") },
    );
  });

  it("resynchronises also in windows smaller than the damage", async () => {
    using dir = copyGolden();
    const { path, first } = segmentsOf(dir)[1];
    patchFile(path, SEGMENT_HEADER_BYTES, new Uint8Array(300).fill(0xf5));
    for (const bytesMax of [1, 10, 52, 53, 100, 5000]) {
      const { records, gaps } = readAll(dir.path, 0, { from: 0, to: RECORDS, bytesMax });
      expect(gaps).toHaveLength(1);
      expect(gaps[0]).toMatchObject({ fromOffset: first, reason: "lost" });
      expect(records).toHaveLength(RECORDS - (gaps[0].toOffset - first));
    }
  });

  it("does not read past the durable end because of damage before it", async () => {
    using dir = copyGolden();
    const { path, first } = segmentsOf(dir)[1];
    patchFile(path, SEGMENT_HEADER_BYTES + 52 + 10, Buffer.from("?"));
    using reader = openFileLogReader(dir.path, 0);
    const lost = { fromOffset: first, toOffset: first + 1, reason: "lost" };
    const batch = reader.read(first, first + 1, { bytesMax: 1000 });
    expect(batch).toEqual({ records: [], gaps: [lost], nextOffset: first + 1 });
    const next = reader.read(first + 1, first + 2, { bytesMax: 1000 });
    expect(next.records.map(({ offset }) => offset)).toEqual([first + 1]);
    expect(next.gaps).toEqual([]);
  });

  it("ignores a record that is inside of a record", async () => {
    using dir = new TempDir();
    let log = await openTestLog(dir.path, { segmentBytesMax: 1e6 });
    for (let i = 0; i < 5; i++) await log.append(0, "acme", Buffer.from(`${i}`.padEnd(100)));
    const { path } = segmentsOf(dir)[0];
    const stolen = readFileSync(path);
    const from = stolen.subarray(SEGMENT_HEADER_BYTES);
    await log.append(0, "acme", from);
    await log.append(0, "acme", Buffer.from("end"));
    await log.close();
    // Break the header around the embedded records: their offsets are old, so they are ignored.
    patchFile(path, stolen.length, Buffer.from([0]));
    log = await openTestLog(dir.path);
    expect(log.damage).toMatchObject([{ kind: "lost_records", fromOffset: 5, toOffset: 6 }]);
    expect(log.durableEnd(0)).toBe(7);
    await log.close();
  });
});

describe("missing and foreign files", () => {
  it("reports missing segments and reads the others", async () => {
    for (const index of [0, 1, 2]) {
      using dir = copyGolden();
      const { path, first, end } = segmentsOf(dir)[index];
      rmSync(path);
      const { log, lost } = await openAndCheck(dir);
      expect(lost).toEqual(Array.from({ length: end - first }, (_, i) => first + i));
      await appendAndReopen(dir, log);
    }
  });

  it("opens without the trim state, and reports it", async () => {
    using dir = copyGolden();
    let log = await openTestLog(dir.path);
    await log.trim(0, 12, { acme: 12 });
    await log.close();
    patchFile(`${dir.path}/p0/trimmed.json`, 5, Buffer.from("?"));
    log = await openTestLog(dir.path);
    expect(log.damage).toMatchObject([{ kind: "trim_state" }]);
    expect(log.firstOffset(0)).toBe(segmentsOf(dir)[0].first);
    expect(log.durableEnd(0)).toBe(RECORDS);
    await log.close();
  });

  it("opens without retry hashes, and reports it", async () => {
    using dir = copyGolden();
    let log = await openTestLog(dir.path);
    await log.trim(0, 12, {});
    await log.close();
    const name = readdirSync(`${dir.path}/p0`).find((name) => name.endsWith(".ids"))!;
    patchFile(`${dir.path}/p0/${name}`, 30, Buffer.from("?"));
    log = await openTestLog(dir.path);
    expect(log.damage).toMatchObject([{ kind: "retry_memory" }]);
    expect((await log.append(0, "acme", Buffer.from(textOf(0)))).duplicate).toBe(false);
    await log.close();
    log = await openTestLog(dir.path);
    expect(log.damage).toEqual([]);
    await log.close();
  });

  it("refuses segments of another log or partition", async () => {
    using dir = copyGolden();
    using other = new TempDir();
    await (await openTestLog(other.path)).close();
    const name = `p0/${"0".repeat(20)}-0000000001.seg`;
    cpSync(`${other.path}/${name}`, `${dir.path}/${name}`);
    await expect(openTestLog(dir.path)).rejects.toMatchObject({ reason: "log_foreign_segment" });
    using moved = copyGolden();
    renameSync(`${moved.path}/${name}`, `${moved.path}/p0/${"0".repeat(19)}9-0000000001.seg`);
    await expect(openTestLog(moved.path)).rejects.toMatchObject({ reason: "log_foreign_segment" });
  });

  it("refuses a pipe or a device in place of a file at once", async () => {
    for (const word of ["segment", "log.json", "p0/trimmed.json"]) {
      using dir = copyGolden();
      const path = word === "segment" ? segmentsOf(dir)[0].path : `${dir.path}/${word}`;
      rmSync(path, { force: true });
      execFileSync("mkfifo", [path]);
      await expect(openTestLog(dir.path)).rejects.toMatchObject({
        reason: "not_a_file",
        message: `open ${path}: it is a pipe, not a regular file`,
      });
      rmSync(path);
      symlinkSync("/dev/zero", path);
      await expect(openTestLog(dir.path)).rejects.toThrow("it is a device");
    }
  });

  it("keeps a last segment of noise for inspection, and ignores leftovers", async () => {
    using dir = copyGolden();
    const last = segmentsOf(dir).at(-1)!;
    const noise = Buffer.alloc(last.bytes, "noise");
    writeFileSync(last.path, noise);
    writeFileSync(`${dir.path}/p0/left.seg.tmp`, "x");
    writeFileSync(`${dir.path}/p0/readme`, "x");
    const { log } = await openAndCheck(dir);
    expect(log.durableEnd(0)).toBe(last.first);
    expect(readFileSync(`${last.path}.damaged`)).toEqual(noise);
    expect(readdirSync(`${dir.path}/p0`)).not.toContain("left.seg.tmp");
    await appendAndReopen(dir, log);
  });

  it("random files instead of any file: a typed error or a report, never a hang", async () => {
    const files = fc.constantFrom("log.json", "p0/trimmed.json", "first", "last", "ids");
    await fc.assert(
      fc.asyncProperty(
        files,
        fc.uint8Array({ maxLength: 500, size: "max" }),
        async (file, bytes) => {
          using dir = copyGolden();
          const segments = segmentsOf(dir);
          const byWord: Record<string, string> = {
            first: segments[0].path,
            last: segments.at(-1)!.path,
            ids: `${dir.path}/p0/${"0".repeat(20)}.ids`,
          };
          writeFileSync(byWord[file] ?? `${dir.path}/${file}`, bytes);
          if (file === "log.json") {
            await expect(openTestLog(dir.path)).rejects.toBeInstanceOf(SpoorError);
            return;
          }
          const { log } = await openAndCheck(dir);
          expect(log.stats().damagesTotal + log.stats().truncatedTailsTotal).toBeGreaterThan(0);
          await appendAndReopen(dir, log);
        },
      ),
      { numRuns: 40 * inject("depth") },
    );
  });
});
