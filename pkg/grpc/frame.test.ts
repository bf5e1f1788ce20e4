import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Admission, InFlight } from "#pkg/listen/in-flight.ts";
import { frameMessage, MessageReader } from "./frame.ts";

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
