import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, inject, it } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  decodeSegmentHeader,
  encodeRecordHeader,
  encodeSegmentHeader,
  isRecordBody,
  isRecordHeader,
  parseSegmentName,
  RECORD_HEADER_BYTES,
  recordAppendedMs,
  recordBytesStart,
  recordHash,
  recordLength,
  recordOffset,
  SEGMENT_HEADER_BYTES,
  segmentName,
  segmentSeed,
} from "./format.ts";
import { FaultyFs, TempDir } from "./span-log.testing.ts";
import { hashRecord, RETRY_ENTRY_BYTES } from "./retry-memory.ts";
import { readSidecar, writeSidecar } from "./retry-sidecar.ts";
import { readLogState, readTrimState, writeLogState, writeTrimState } from "./state-file.ts";
import { crc32 } from "node:zlib";

const offsets = fc.maxSafeNat();
const logIds = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((b) => Buffer.from(b).toString("hex"));

describe("segment header", () => {
  const headers = fc.record({
    logId: logIds,
    partition: fc.nat(1023),
    firstOffset: offsets,
    createdMs: offsets,
    owner: fc.nat(0xffffffff),
  });

  it("round-trips, and is invalid when cut or changed", () => {
    fc.assert(
      fc.property(headers, fc.nat(SEGMENT_HEADER_BYTES * 8 - 1), (header, bit) => {
        const encoded = encodeSegmentHeader(header);
        expect(decodeSegmentHeader(encoded, "x")).toEqual(header);
        for (let i = 0; i < encoded.length; i++) {
          expect(decodeSegmentHeader(encoded.subarray(0, i), "x")).toBeUndefined();
        }
        encoded[bit >> 3] ^= 1 << (bit & 7);
        expect(decodeSegmentHeader(encoded, "x")).toBeUndefined();
      }),
    );
  });

  it("of a newer version is refused", () => {
    const ids = { logId: "00".repeat(16), partition: 0, firstOffset: 0, owner: 1 };
    const encoded = encodeSegmentHeader({ ...ids, createdMs: 0 });
    encoded.writeUInt32LE(3, 8);
    encoded.writeUInt32LE(crc32(encoded.subarray(0, 60)), 60);
    expect(() => decodeSegmentHeader(encoded, "x.seg")).toThrow(
      "format 3 is not one of the known formats 1 to 2",
    );
  });

  it("names sort as numbers", () => {
    fc.assert(
      fc.property(offsets, offsets, fc.nat(0xffffffff), (a, b, owner) => {
        const id = { firstOffset: a, owner };
        expect(parseSegmentName(segmentName(id))).toEqual(id);
        const other = segmentName({ firstOffset: b, owner });
        expect(segmentName(id) < other).toBe(a < b);
      }),
    );
    expect(parseSegmentName(`${"0".repeat(20)}.seg`)).toEqual({ firstOffset: 0, owner: 0 });
    for (const name of [
      "1.seg",
      `${"9".repeat(20)}.seg`,
      `${"0".repeat(20)}-${"9".repeat(10)}.seg`,
    ]) {
      expect(parseSegmentName(name)).toBeUndefined();
    }
  });
});

describe("record header", () => {
  const records = fc.record({
    body: fc.uint8Array({ maxLength: 100 }),
    tenantLength: fc.nat(255),
    offset: offsets,
    appendedMs: offsets,
    hash: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    seed: fc.nat(0xffffffff),
    pos: fc.nat(20),
  });

  it("round-trips; every flipped bit of header and body is detected", () => {
    fc.assert(
      fc.property(records, fc.nat(), ({ body, tenantLength, seed, pos, ...rest }, bitAt) => {
        const tenant = Buffer.alloc(tenantLength, 0x61);
        const frame = Buffer.alloc(pos + RECORD_HEADER_BYTES + tenantLength + body.length);
        const bodyCrc = crc32(body, crc32(tenant));
        const header = { ...rest, bodyCrc, bytesLength: body.length, tenantLength };
        const at = encodeRecordHeader(frame, pos, seed, header);
        frame.set(tenant, at);
        frame.set(body, at + tenantLength);
        const isValid = (): boolean => isRecordHeader(frame, pos, seed) && isRecordBody(frame, pos);
        expect(isValid()).toBe(true);
        expect(isRecordHeader(frame, pos, (seed ^ 1) >>> 0)).toBe(false);
        expect(recordLength(frame, pos)).toBe(frame.length - pos);
        expect(recordOffset(frame, pos)).toBe(rest.offset);
        expect(recordAppendedMs(frame, pos)).toBe(rest.appendedMs);
        expect(Uint8Array.from(recordHash(frame, pos))).toEqual(rest.hash);
        expect(Uint8Array.from(frame.subarray(recordBytesStart(frame, pos)))).toEqual(body);
        const bit = pos * 8 + (bitAt % ((frame.length - pos) * 8));
        frame[bit >> 3] ^= 1 << (bit & 7);
        expect(isValid()).toBe(false);
      }),
    );
  });

  it("has a seed of its own in every segment", () => {
    const seeds = new Set<number>();
    for (let first = 0; first < 50; first++) {
      for (let partition = 0; partition < 4; partition++) {
        for (const owner of [0, 1, 2]) {
          seeds.add(segmentSeed("ab".repeat(16), partition, { firstOffset: first, owner }));
        }
      }
    }
    expect(seeds.size).toBe(600);
  });
});

describe("state files", () => {
  const tenants = fc.dictionary(fc.string({ unit: "grapheme", minLength: 1 }), offsets);

  it("round-trip, or are Corrupt when cut or changed anywhere", async () => {
    using dir = new TempDir();
    const fs = new FaultyFs();
    await fc.assert(
      fc.asyncProperty(tenants, offsets, logIds, fc.nat(), async (table, trimmedTo, logId, at) => {
        const others = Object.values(table).map((position, i) => {
          return [`c${i}`, { position, isLost: position % 2 === 1 }] as const;
        });
        const trim = {
          trimmedTo,
          ingesterTo: trimmedTo + others.length,
          others: new Map(others),
          committed: new Map(Object.entries(table)),
        };
        await writeTrimState(fs, dir.path, trim);
        expect(readTrimState(dir.path)).toEqual(trim);
        await writeLogState(fs, dir.path, { logId, partitionCount: 8, owner: trimmedTo });
        expect(readLogState(dir.path)).toEqual({ logId, partitionCount: 8, owner: trimmedTo });
        checkDamage(`${dir.path}/trimmed.json`, at, () => readTrimState(dir.path));
        checkDamage(`${dir.path}/log.json`, at, () => readLogState(dir.path));
      }),
      { numRuns: 5 * inject("depth") },
    );
  });

  it("that are random bytes are Corrupt, of a newer version refused", () => {
    using dir = new TempDir();
    const path = `${dir.path}/log.json`;
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        writeFileSync(path, bytes);
        expect(() => readLogState(dir.path)).toThrow(SpoorError);
      }),
      { numRuns: 50 },
    );
    for (const [text, message] of [
      [`{"format":3,"logId":"${"a".repeat(32)}","partitionCount":4}`, "format 3"],
      [`{"format":2,"logId":"${"a".repeat(32)}","partitionCount":4,"owner":-1}`, "are invalid"],
      [`{"format":1,"logId":"${"a".repeat(32)}","partitionCount":3}`, "are invalid"],
      [`{"format":1,"logId":"${"a".repeat(31)}","partitionCount":4}`, "are invalid"],
      ["null", "not an object"],
      ["{", "not JSON"],
    ]) {
      writeFileSync(path, `${text}\n${crc32(text).toString(16).padStart(8, "0")}\n`);
      expect(() => readLogState(dir.path)).toThrow(message);
    }
    const none = `${dir.path}/none`;
    mkdirSync(none);
    expect(readLogState(none)).toBeUndefined();
    expect(readTrimState(none)).toBeUndefined();
  });
});

function checkDamage(path: string, at: number, read: () => unknown): void {
  const whole = readFileSync(path);
  for (let length = 0; length < whole.length; length++) {
    writeFileSync(path, whole.subarray(0, length));
    expect(read).toThrow(SpoorError);
  }
  const flipped = Buffer.from(whole);
  const bit = at % (whole.length * 8);
  flipped[bit >> 3] ^= 1 << (bit & 7);
  writeFileSync(path, flipped);
  expect(read).toThrow(SpoorError);
}

describe("retry sidecar", () => {
  it("round-trips, or is damaged when cut or changed anywhere", async () => {
    using dir = new TempDir();
    const fs = new FaultyFs();
    const entries = Buffer.alloc(RETRY_ENTRY_BYTES * 3);
    for (let i = 0; i < 3; i++) {
      hashRecord(0, "acme", [Buffer.from([i])]).copy(entries, i * RETRY_ENTRY_BYTES);
      entries.writeUInt32LE(i, i * RETRY_ENTRY_BYTES + 16);
    }
    const { name, lastOffset } = await writeSidecar(fs, dir.path, 5, entries);
    expect([name, lastOffset]).toEqual(["00000000000000000005.ids", 2]);
    expect(readSidecar(dir.path, name)).toEqual({ entries, lastOffset: 2, version: 2 });
    const path = `${dir.path}/${name}`;
    const whole = readFileSync(path);
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      expect(readSidecar(dir.path, name)).toBeUndefined();
    }
    for (let bit = 0; bit < whole.length * 8; bit++) {
      whole[bit >> 3] ^= 1 << (bit & 7);
      writeFileSync(path, whole);
      expect(readSidecar(dir.path, name)).toBeUndefined();
      whole[bit >> 3] ^= 1 << (bit & 7);
    }
  });
});
