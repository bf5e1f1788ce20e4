import { expect, it } from "vitest";
import { Arena } from "./arena.ts";

it("allocates arrays that do not overlap, from one buffer once it knows the needed size", () => {
  const arena = new Arena();
  const sizes = [3, 1000, 7, 250_000];
  for (let round = 0; round < 3; round++) {
    arena.reset();
    const arrays = sizes.flatMap((size) => [arena.int32(size), arena.uint8(size)]);
    for (const [i, array] of arrays.entries()) array.fill(i + 1);
    for (const [i, array] of arrays.entries()) {
      expect(array).toHaveLength(sizes[i >> 1]);
      expect(array.every((value) => value === i + 1)).toBe(true);
    }
    const buffers = new Set(arrays.map(({ buffer }) => buffer));
    expect(buffers.size).toBe(round === 0 ? arrays.length : 1);
  }
});

it("keeps a buffer of at most its bound", () => {
  const arena = new Arena();
  arena.uint8(100 * 1024 * 1024);
  arena.reset();
  const large = arena.uint8(40 * 1024 * 1024);
  const small = arena.uint8(8);
  expect(small.buffer.byteLength).toBe(32 * 1024 * 1024);
  expect(large.buffer).not.toBe(small.buffer);
});
