import * as fc from "fast-check";
import { expect, test } from "vitest";
import { formatTimeout, parseTimeout, readTrailers, statusTrailers } from "./metadata.ts";

test("timeouts", () => {
  const good: [string | undefined, number][] = [
    [undefined, Number.POSITIVE_INFINITY],
    ["1H", 3_600_000],
    ["2M", 120_000],
    ["10S", 10_000],
    ["9913m", 9913],
    ["1500u", 1.5],
    ["99999999n", 99.999999],
  ];
  for (const [header, ms] of good) expect(parseTimeout(header)).toBeCloseTo(ms, 9);
  for (const header of ["", "S", "5", "5s", "123456789S", "-1S", "1.5S"]) {
    expect(() => parseTimeout(header), header).toThrow(/malformed grpc-timeout/);
  }
});

test("trailers: percent-encoded message, google.rpc.Status with RetryInfo to the byte", () => {
  const trailers = statusTrailers({ code: 8, message: "100% é\n", retryAfterMs: 1500 });
  expect(trailers["grpc-status"]).toBe("8");
  expect(trailers["grpc-message"]).toBe("100%25 %C3%A9%0A");
  const url = "type.googleapis.com/google.rpc.RetryInfo";
  const duration = [0x08, 1, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01];
  const retryInfo = [0x0a, duration.length, ...duration];
  const any = [0x0a, url.length, ...Buffer.from(url), 0x12, retryInfo.length, ...retryInfo];
  const message = Buffer.from("100% é\n");
  const status = [0x08, 8, 0x12, message.length, ...message, 0x1a, any.length, ...any];
  expect([...Buffer.from(trailers["grpc-status-details-bin"], "base64")]).toEqual(status);
});

test("timeouts come back, in at most eight digits", () => {
  for (const ms of [0, 1, 60_000, 99_999_999, 100_000_000, 3_600_000_000]) {
    const header = formatTimeout(ms);
    expect(header).toMatch(/^\d{1,8}[mSMH]$/);
    expect(parseTimeout(header)).toBeGreaterThanOrEqual(ms);
    expect(parseTimeout(header)).toBeLessThan(ms + 3_600_000);
  }
  expect(formatTimeout(60_000)).toBe("60000m");
});

test("any message comes back from trailers of printable ASCII", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 200 }), (message) => {
      const trailers = statusTrailers({ code: 3, message });
      for (const value of Object.values(trailers)) expect(value).toMatch(/^[\x20-\x7e]*$/);
      expect(readTrailers(trailers)).toEqual({ code: 3, message });
    }),
  );
});

test("a message that is not percent-encoded, and details that are none, are no failure", () => {
  const odd = { "grpc-status": "8", "grpc-message": "100%", "grpc-status-details-bin": "!!" };
  expect(readTrailers(odd)).toEqual({ code: 8, message: "100%" });
  expect(readTrailers({ ":status": "502" })).toBeUndefined();
  expect(readTrailers({ "grpc-status": "none" })).toBeUndefined();
});
