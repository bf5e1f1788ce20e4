/** Compares `storedFrame` with the zstd library. */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it, inject } from "vitest";
import { storedFrame } from "./page.ts";

/** Bytes that do not compress. */
function noise(sizeBytes: number, seed: number): Uint8Array {
  let state = seed | 1;
  return Uint8Array.from({ length: sizeBytes }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state;
  });
}

const contents = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc
    .tuple(fc.constantFrom(1, 200, 255, 256, 257, 70_000, 131_072, 131_073, 300_000), fc.integer())
    .map(([sizeBytes, seed]) => noise(sizeBytes, seed)),
);

function decompressed(frame: Uint8Array): Buffer | undefined {
  try {
    return zstdDecompressSync(frame);
  } catch {
    return undefined;
  }
}

describe("storedFrame", () => {
  it("returns what the library returns, or leaves the frame to it", () => {
    let stored = 0;
    fc.assert(
      fc.property(contents, fc.boolean(), fc.boolean(), (content, hasChecksum, hasSize) => {
        const frame = zstdCompressSync(content, {
          params: {
            [constants.ZSTD_c_checksumFlag]: hasChecksum ? 1 : 0,
            [constants.ZSTD_c_contentSizeFlag]: hasSize ? 1 : 0,
          },
        });
        const found = storedFrame(frame);
        if (found === undefined) return;
        stored++;
        expect(hasChecksum).toBe(false);
        expect(Buffer.compare(found, content)).toBe(0);
      }),
      { numRuns: 150 * inject("depth") },
    );
    expect(stored).toBeGreaterThan(30);
    expect(storedFrame(zstdCompressSync(noise(70_000, 5)))).toHaveLength(70_000);
    expect(storedFrame(zstdCompressSync(Buffer.alloc(70_000)))).toBeUndefined();
    expect(storedFrame(zstdCompressSync(noise(300_000, 5)))).toBeUndefined();
  });

  it("reads a damaged frame as the library does, or not at all", () => {
    const frames = [1, 100, 300, 1000].map((size) => zstdCompressSync(noise(size, size)));
    const flips = fc.array(fc.tuple(fc.nat({ max: 20 }), fc.nat({ max: 255 })), { maxLength: 3 });
    fc.assert(
      fc.property(fc.constantFrom(...frames), flips, fc.nat(), (frame, changes, cut) => {
        const damaged = Buffer.from(frame.subarray(0, frame.length - (cut % 3)));
        for (const [at, byte] of changes) if (at < damaged.length) damaged[at] = byte;
        const found = storedFrame(damaged);
        const library = decompressed(damaged);
        // The library also checks the sizes that the frame says; the page's header has them too.
        if (found !== undefined && library !== undefined) {
          expect(Buffer.compare(found, library)).toBe(0);
        }
      }),
      { numRuns: 700 * inject("depth") },
    );
    for (let length = 0; length < frames[1].length; length++) {
      expect(storedFrame(frames[1].subarray(0, length))).toBeUndefined();
    }
  });
});
