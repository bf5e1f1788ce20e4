/** Buffers that can be moved to another thread instead of being copied. */

/** Buffers of arrays that have all of theirs; what shares one with others must be copied. */
export function ownBuffers(arrays: readonly ArrayBufferView[]): ArrayBuffer[] {
  const own = new Set<ArrayBuffer>();
  for (const { buffer, byteLength } of arrays) {
    const isWhole = byteLength > 0 && buffer.byteLength === byteLength;
    if (isWhole && buffer instanceof ArrayBuffer) own.add(buffer);
  }
  return [...own];
}
