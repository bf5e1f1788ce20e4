import * as fc from "fast-check";
import { expect, test } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import { encodeStatus, readStatus, type Status, statusOf } from "./status.ts";

const full: Status = { code: 8, message: "100% é", retryAfterMs: 1500, reason: "queue_full" };

test("a status comes back as it was, with and without details", () => {
  const plain = { code: 3, message: "" };
  for (const status of [full, plain, { ...full, retryAfterMs: 0 }, { ...plain, reason: "x" }])
    expect(readStatus(encodeStatus(status))).toEqual(status);
});

test("a status has the error's code, reason and retry delay", () => {
  const error = new SpoorError("LimitExceeded", "full", { reason: "log_full", retryAfterMs: 20 });
  expect(statusOf(error)).toEqual({
    code: 8,
    message: "full",
    reason: "log_full",
    retryAfterMs: 20,
  });
});

test("half a surrogate pair in a message, and one that is too long, are no failure", () => {
  expect(readStatus(encodeStatus({ code: 3, message: "a\ud83d" })).message).toBe("a\ufffd");
  const { message } = readStatus(encodeStatus({ code: 3, message: "x".repeat(100_000) }));
  expect(message).toHaveLength(4097);
});

test("cut at any byte, or other bytes: a status or InvalidInput, nothing else", () => {
  const bytes = encodeStatus(full);
  const isRead = (some: Uint8Array): boolean => {
    try {
      readStatus(some);
      return true;
    } catch (error) {
      expect(error).toMatchObject({ code: "InvalidInput", reason: "invalid_protobuf" });
      return false;
    }
  };
  const read = Array.from(bytes, (_, length) => isRead(bytes.subarray(0, length)));
  expect(read.filter((one) => !one).length).toBeGreaterThan(bytes.length / 2);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (some) => void isRead(some)));
});

test("reasons that are no words, and details of other kinds, are left out", () => {
  const odd = encodeStatus({ code: 8, message: "m", reason: "two words\n" });
  expect(readStatus(odd)).toEqual({ code: 8, message: "m" });
  const foreign = Buffer.from(encodeStatus(full)).toString("latin1").replaceAll("rpc.", "odd.");
  const { retryAfterMs, reason } = readStatus(Buffer.from(foreign, "latin1"));
  expect([retryAfterMs, reason]).toEqual([undefined, undefined]);
});
