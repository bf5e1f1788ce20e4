/** Test support for arenas. */
import { Arena } from "./arena.ts";

/** Returns a used arena, whose first 64 KiB are not zeroed but all ones. */
export function usedArena(): Arena {
  const arena = new Arena();
  arena.uint8(64 * 1024);
  arena.reset();
  arena.uint8(64 * 1024).fill(0xff);
  arena.reset();
  return arena;
}
