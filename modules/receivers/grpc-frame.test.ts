import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { frameMessage, MessageReader, parseTimeout, statusTrailers } from "./grpc-frame.ts";
import { Admission, InFlight } from "#pkg/listen/in-flight.ts";

function newReader(bytesMax = 1 << 20): MessageReader {
  return new MessageReader(bytesMax, new Admission(new InFlight(1, 1 << 24)));
}

describe("MessageReader", () => {
  test("puts a message together from chunks of any size", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.array(fc.integer({ min: 1, max: 100 })),
        (message, sizes) => {
          const frame = frameMessage(message);
          const reader = newReader();
          let pos = 0;
          for (const size of [...sizes, frame.length]) {
            reader.push(frame.subarray(pos, pos + size));
            pos = Math.min(frame.length, pos + size);
          }
          const { isCompressed, bytes } = reader.finish();
          expect(isCompressed).toBe(false);
          expect(Buffer.compare(bytes, message)).toBe(0);
        },
      ),
    );
  });

  test("large messages grow with what has come", () => {
    const inFlight = new InFlight(1, 1 << 24);
    const reader = new MessageReader(1 << 24, new Admission(inFlight));
    const message = Buffer.alloc(3_000_000, "abcdefg");
    const frame = frameMessage(message);
    reader.push(frame.subarray(0, 5));
    expect(inFlight.bytes).toBe(0);
    for (let pos = 5; pos < frame.length; pos += 16_384) {
      reader.push(frame.subarray(pos, pos + 16_384));
    }
    expect(Buffer.compare(reader.finish().bytes, message)).toBe(0);
    expect(inFlight.bytes).toBe(3_000_000);
  });

  test("is incomplete when cut at any byte", () => {
    const frame = frameMessage(Buffer.from("hello"));
    for (let length = 0; length < frame.length; length++) {
      const reader = newReader();
      reader.push(frame.subarray(0, length));
      expect(() => reader.finish(), `${length}`).toThrow(/before its message was complete/);
    }
  });

  test("refuses a second message, trailing bytes, odd flags and too long messages", () => {
    const frame = frameMessage(Buffer.from("hello"));
    expect(() => newReader().push(Buffer.concat([frame, frame]))).toThrow(/after its message/);
    const reader = newReader();
    reader.push(frame);
    expect(() => reader.push(Buffer.from([0]))).toThrow(/after its message/);
    expect(() => newReader().push(Buffer.from([2, 0, 0, 0, 0]))).toThrow(/compression flag 2/);
    expect(() => newReader(100).push(Buffer.from([0, 0, 0, 0, 101]))).toThrow(
      expect.objectContaining({ code: "TooLarge" }),
    );
  });
});

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
