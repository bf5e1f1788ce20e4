import { randomBytes } from "node:crypto";
import { deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import * as fc from "fast-check";
import { Compressor, compressSync as snappyCompress } from "snappy";
import { describe, expect, test } from "vitest";
import { hasCode } from "#pkg/errors/errors.ts";
import { InFlight } from "./in-flight.ts";
import { type Encoding, inPlaceBodyBytesMax, inflate, parseEncoding } from "./inflate.ts";
import { Turns } from "./turns.ts";

const mebibyte = 1024 * 1024;
const formats: [name: string, encoding: Encoding, compress: (bytes: Uint8Array) => Uint8Array][] = [
  ["gzip", "gzip", (bytes) => gzipSync(bytes)],
  ["zstd", "zstd", (bytes) => zstdCompressSync(bytes)],
  ["deflate with zlib header", "deflate", (bytes) => deflateSync(bytes)],
  ["deflate without header", "deflate", (bytes) => deflateRawSync(bytes)],
  ["snappy block", "snappy", (bytes) => snappyCompress(bytes)],
];

function inflateWith(
  body: Uint8Array,
  encoding: Encoding,
  bytesMax = 64 * mebibyte,
): Promise<Uint8Array> {
  const lease = new InFlight(1, 256 * mebibyte).admit();
  return inflate(body, { encoding, bytesMax, lease, turns: new Turns(1) });
}

/** True, or false for InvalidInput; anything else fails the test. */
async function isReadable(body: Uint8Array, encoding: Encoding): Promise<boolean> {
  try {
    await inflateWith(body, encoding, mebibyte);
    return true;
  } catch (error) {
    if (!hasCode(error, "InvalidInput") && !hasCode(error, "TooLarge")) throw error;
    return false;
  }
}

describe.each(formats)("%s", (_name, encoding, compress) => {
  test("inflates bodies of all sizes: small, in place, and in the thread pool", async () => {
    const random = randomBytes(40_000);
    for (const size of [0, 1, 1000, 40_000, mebibyte - 1, mebibyte, mebibyte + 1, 5 * mebibyte]) {
      const bytes = Buffer.alloc(size, random);
      const inflated = await inflateWith(compress(bytes), encoding);
      expect(Buffer.compare(inflated, bytes), `${size} bytes`).toBe(0);
    }
    const hardlySmaller = randomBytes(2 * mebibyte);
    const inflated = await inflateWith(compress(hardlySmaller), encoding);
    expect(Buffer.compare(inflated, hardlySmaller)).toBe(0);
  });

  test("a bomb is cut off at the limit", async () => {
    const bomb = compress(Buffer.alloc(200 * mebibyte));
    const lease = new InFlight(1, 12 * mebibyte).admit();
    lease.resize(bomb.length);
    // The lease could not hold more than 12 MiB: had more been inflated, this were LimitExceeded.
    const inflating = inflate(bomb, {
      encoding,
      bytesMax: 10 * mebibyte,
      lease,
      turns: new Turns(1),
    });
    await expect(inflating).rejects.toMatchObject({ code: "TooLarge", reason: "body_too_large" });
    await expect(inflateWith(compress(Buffer.alloc(2049)), encoding, 2048)).rejects.toMatchObject({
      code: "TooLarge",
    });
    expect(await inflateWith(compress(Buffer.alloc(2048)), encoding, 2048)).toHaveLength(2048);
  });

  test("memory that others hold is not taken", async () => {
    const inFlight = new InFlight(2, 4 * mebibyte);
    const other = inFlight.admit();
    other.resize(3 * mebibyte);
    const lease = inFlight.admit();
    const body = compress(Buffer.alloc(2 * mebibyte));
    const options = { encoding, bytesMax: 64 * mebibyte, lease, turns: new Turns(1) };
    await expect(inflate(body, options)).rejects.toMatchObject({
      code: "LimitExceeded",
      reason: "bytes_in_flight",
    });
    lease.release();
    other.release();
    expect(inFlight).toMatchObject({ requests: 0, bytes: 0 });
  });

  test("truncation at each byte and changed bytes give bytes or InvalidInput", async () => {
    const body = compress(Buffer.from("spans ".repeat(40)));
    for (let length = 0; length < body.length; length++) {
      expect(await isReadable(body.subarray(0, length), encoding), `${length} bytes`).toBe(false);
    }
    await fc.assert(
      fc.asyncProperty(fc.nat(body.length - 1), fc.nat(255), async (at, byte) => {
        const changed = Uint8Array.from(body);
        changed[at] = byte;
        await isReadable(changed, encoding);
      }),
      { numRuns: 300 },
    );
  });

  test("random bytes give bytes or InvalidInput", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (bytes) => {
        await isReadable(bytes, encoding);
      }),
      { numRuns: 300 },
    );
  });
});

test("a gzip body whose size field lies is read all the same", async () => {
  const bytes = Buffer.alloc(5000, "spans");
  for (const size of [0, 1, 0xffff_ffff]) {
    const body = gzipSync(bytes);
    const parts = [body, gzipSync(Buffer.alloc(size & 0xff))];
    const whole = Buffer.concat(parts);
    expect(await inflateWith(whole, "gzip")).toHaveLength(5000 + (size & 0xff));
  }
  const lying = gzipSync(bytes);
  lying.writeUInt32LE(0xffff_fff0, lying.length - 4);
  await expect(inflateWith(lying, "gzip")).rejects.toMatchObject({ code: "InvalidInput" });
});

test("a zstd frame that wants a window over 32 MiB is refused", async () => {
  // Magic, frame header without content size, window descriptor 2^(10+17), then an empty last block.
  const frame = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00]);
  await expect(inflateWith(frame, "zstd")).rejects.toMatchObject({ code: "InvalidInput" });
  const small = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 10 << 3, 0x01, 0x00, 0x00]);
  expect(await inflateWith(small, "zstd")).toHaveLength(0);
});

describe("framed snappy", () => {
  async function framed(bytes: Uint8Array): Promise<Buffer> {
    const compressor = new Compressor();
    return Buffer.concat([compressor.update(bytes), await compressor.finish()]);
  }

  test("inflates to what went in; a bomb is refused by what its frames say", async () => {
    for (const size of [1, 65_536, 65_537, 3 * mebibyte]) {
      const bytes = Buffer.alloc(size, randomBytes(40_000));
      const inflated = await inflateWith(await framed(bytes), "snappy");
      expect(Buffer.compare(inflated, bytes), `${size} bytes`).toBe(0);
    }
    const bomb = await framed(Buffer.alloc(3 * mebibyte));
    await expect(inflateWith(bomb, "snappy", 2 * mebibyte)).rejects.toMatchObject({
      code: "TooLarge",
    });
  });

  test("damage gives bytes or InvalidInput, a wrong checksum InvalidInput", async () => {
    const body = await framed(Buffer.from("spans ".repeat(40)));
    const flipped = Buffer.from(body);
    flipped[15] ^= 1;
    await expect(inflateWith(flipped, "snappy")).rejects.toMatchObject({ code: "InvalidInput" });
    for (let length = 11; length < body.length; length++) {
      expect(await isReadable(body.subarray(0, length), "snappy"), `${length} bytes`).toBe(false);
    }
    await fc.assert(
      fc.asyncProperty(fc.nat(body.length - 1), fc.nat(255), async (at, byte) => {
        const changed = Uint8Array.from(body);
        changed[at] = byte;
        await isReadable(changed, "snappy");
      }),
      { numRuns: 100 },
    );
  });
});

test("bytes that inflate to nothing are not inflated on the main thread", async () => {
  // Empty blocks of DEFLATE: 5 bytes each that become none.
  const block = Buffer.from([0x00, 0x00, 0x00, 0xff, 0xff]);
  const large = Buffer.alloc(5 * (inPlaceBodyBytesMax / 4), block);
  const turns = new Turns(1);
  const lease = new InFlight(1, 256 * mebibyte).admit();
  const options = { encoding: "deflate", bytesMax: 64 * mebibyte, lease, turns } as const;
  const inflating = inflate(Buffer.concat([large, Buffer.from([0x03, 0x00])]), options);
  expect(turns.running).toBe(1);
  expect(await inflating).toHaveLength(0);
  expect(turns.running).toBe(0);
});

test("names of encodings", () => {
  const names: [string | undefined, Encoding | undefined][] = [
    [undefined, "identity"],
    ["", "identity"],
    ["none", "identity"],
    ["Identity", "identity"],
    ["GZIP", "gzip"],
    ["x-gzip", "gzip"],
    [" zstd ", "zstd"],
    ["deflate", "deflate"],
    ["zlib", "deflate"],
    ["snappy", "snappy"],
    ["x-snappy-framed", "snappy"],
    ["br", undefined],
    ["gzip, gzip", undefined],
  ];
  for (const [name, encoding] of names) expect(parseEncoding(name), String(name)).toBe(encoding);
});
