// HOT: runs per span; measured by `npm run bench` (split).
/**
 * Hashes of a trace id. They select the partition of a span and its bits in a bloom filter.
 *
 * All are MurmurHash3_x86_32 over the 16 bytes of the id, with different seeds (FORMAT.md has test
 * vectors). They mix all 16 bytes, because the leading bytes of 64-bit ids padded with zeros are
 * constant. The values are part of the stored formats and must never change.
 */

/** "part" in ASCII. */
const partitionSeed = 0x70617274;
/** "blm1" and "blm2" in ASCII. */
const bloomSeed1 = 0x626c6d31;
const bloomSeed2 = 0x626c6d32;

/** Bytes of a trace id. */
export const traceIdBytes = 16;

/** Returns the partition hash of the 16 bytes at `offset`, an unsigned 32-bit number. */
export function partitionHash(bytes: Uint8Array, offset: number): number {
  return murmur3(bytes, offset, partitionSeed);
}

/** Returns the partition of the trace id at `offset`. `partitionCount` is a power of two. */
export function partitionOf(bytes: Uint8Array, offset: number, partitionCount: number): number {
  return murmur3(bytes, offset, partitionSeed) & (partitionCount - 1);
}

/** Writes two independent unsigned 32-bit hashes for double hashing to `out[0]` and `out[1]`. */
export function bloomHash(bytes: Uint8Array, offset: number, out: Uint32Array): void {
  out[0] = murmur3(bytes, offset, bloomSeed1);
  out[1] = murmur3(bytes, offset, bloomSeed2);
}

function murmur3(bytes: Uint8Array, offset: number, seed: number): number {
  let hash = seed;
  for (let at = offset; at < offset + 16; at += 4) {
    const word = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
    const first = Math.imul(word, 0xcc9e2d51);
    hash ^= Math.imul((first << 15) | (first >>> 17), 0x1b873593);
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  hash ^= 16;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
