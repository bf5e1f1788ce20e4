/** Pieces of an assembled object: checks and calculations that all stores share. */
import { SpoorError } from "#pkg/errors/errors.ts";
import { checkSignal, shortObject } from "./checks.ts";
import { checkKey } from "./keys.ts";
import type { AssembleOptions, MadeRequest, ObjectRange, Piece } from "./object-store.ts";

/** Shorter ranges are read and sent, because no server copies a shorter part. 5 MiB. */
export const copyBytesMin: number = 5 * 1024 * 1024;
/** Maximum bytes that are sent as one part: twice the shortest part. */
export const joinedBytesMax: number = 2 * copyBytesMin;
/** Parts in flight at the same time. */
export const parallelParts = 4;
/** Sources that are looked up at the same time. */
const parallelLookups = 16;
/** Maximum pieces of one object: ten times the row groups of a large block. */
const piecesMax = 10_000;
/** Largest object of all clouds: 5 TiB. */
const objectBytesMax = 5 * 2 ** 40;

/** Validates an assembly before any effect. Throws InvalidInput or TooLarge. */
export function checkPieces(
  key: string,
  pieces: readonly Piece[],
  { signal }: AssembleOptions,
): void {
  checkKey(key);
  if (pieces.length > piecesMax) {
    const message = `assemble object ${key}: ${pieces.length} pieces exceed ${piecesMax}`;
    throw new SpoorError("InvalidInput", message, { reason: "too_many_pieces" });
  }
  for (const piece of pieces) if (isRange(piece)) checkPiece(piece);
  const sizeBytes = bytesOfPieces(pieces);
  if (sizeBytes > objectBytesMax) {
    const message = `assemble object ${key}: ${sizeBytes} bytes exceed ${objectBytesMax}`;
    throw new SpoorError("TooLarge", message, { reason: "object_too_large" });
  }
  checkSignal(signal, attemptOf(key, pieces));
}

function checkPiece({ key, start, end }: ObjectRange): void {
  checkKey(key);
  const isSane = Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0;
  if (isSane && end > start && end <= objectBytesMax) return;
  throw new SpoorError("InvalidInput", `invalid range [${start}, ${end}) of object ${key}`, {
    reason: "invalid_range",
  });
}

/** Returns a description for messages. */
export function attemptOf(key: string, pieces: readonly Piece[]): string {
  return `assemble object ${key} of ${pieces.length} pieces`;
}

export function isRange(piece: Piece): piece is ObjectRange {
  return !(piece instanceof Uint8Array);
}

export function sizeOf(piece: Piece): number {
  return isRange(piece) ? piece.end - piece.start : piece.length;
}

export function bytesOfPieces(pieces: readonly Piece[]): number {
  // Ranges may still be invalid here: a negative or NaN size counts as 0.
  return pieces.reduce((sum, piece) => sum + (Math.max(0, sizeOf(piece)) || 0), 0);
}

/**
 * Returns the most bytes that a store holds in memory at once for an assembly. Bytes that the
 * server copies are included, because only the store knows which these are.
 */
export function heldBytes(pieces: readonly Piece[]): number {
  return Math.min(bytesOfPieces(pieces), parallelParts * joinedBytesMax);
}

/** Returns bytes [from, to) of a piece; the result shares the piece's memory. */
export function slicePiece(piece: Piece, from: number, to: number): Piece {
  if (!isRange(piece)) return piece.subarray(from, to);
  return { key: piece.key, start: piece.start + from, end: piece.start + to };
}

/** Drops empty pieces and joins ranges that are adjacent in the same object. */
export function joinPieces(pieces: readonly Piece[]): Piece[] {
  const joined: Piece[] = [];
  for (const piece of pieces) {
    const last = joined.at(-1);
    if (sizeOf(piece) === 0) continue;
    const goesOn =
      last !== undefined &&
      isRange(last) &&
      isRange(piece) &&
      last.key === piece.key &&
      last.end === piece.start;
    if (goesOn) joined[joined.length - 1] = { ...last, end: piece.end };
    else joined.push(piece);
  }
  return joined;
}

/** Metadata of a source. Each store adds the tag or generation that identifies its version. */
export interface Source {
  sizeBytes: number;
}

/**
 * Looks up each source once, so that a missing or short source is found before anything is written.
 * Throws the errors of `lookUp`, and Corrupt for a short source.
 */
export async function lookUpSources<T extends Source>(
  pieces: readonly Piece[],
  lookUp: (key: string) => Promise<T>,
): Promise<Map<string, T>> {
  const sources = new Map<string, T>();
  const ends = new Map<string, number>();
  for (const piece of pieces) {
    if (isRange(piece)) ends.set(piece.key, Math.max(piece.end, ends.get(piece.key) ?? 0));
  }
  await inLanes([...ends], parallelLookups, async ([key, end]) => {
    const source = await lookUp(key);
    if (source.sizeBytes < end) throw shortObject(key, end, source.sizeBytes);
    sources.set(key, source);
  });
  return sources;
}

/** Runs `run` on all items, `lanes` at a time. After an error no item starts; throws the first. */
export async function inLanes<T>(
  items: readonly T[],
  lanes: number,
  run: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  // Later errors may be consequences of the first.
  let first: { error: unknown } | undefined;
  const lane = async (): Promise<void> => {
    while (next < items.length && first === undefined) {
      try {
        await run(items[next++]);
      } catch (error) {
        first ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(lanes, items.length) }, lane));
  if (first !== undefined) throw (first as { error: unknown }).error;
}

/** Makes one request and reports it to `onRequest` when it has ended. */
export async function reportRequest<T>(
  { onRequest }: Pick<AssembleOptions, "onRequest">,
  { kind, bytes = 0 }: { kind: MadeRequest["kind"]; bytes?: number },
  request: () => Promise<T>,
): Promise<T> {
  const startMs = performance.now();
  let failed = true;
  try {
    const result = await request();
    failed = false;
    return result;
  } finally {
    onRequest?.({ kind, bytes, failed, seconds: (performance.now() - startMs) / 1000 });
  }
}
