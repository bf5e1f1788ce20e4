/** Test support. */
import { Arena } from "./arena.ts";

/** An arena that has been used: what is taken from its first 64 KiB is full of ones. */
export function usedArena(): Arena {
  const arena = new Arena();
  arena.uint8(64 * 1024);
  arena.reset();
  arena.uint8(64 * 1024).fill(0xff);
  arena.reset();
  return arena;
}
