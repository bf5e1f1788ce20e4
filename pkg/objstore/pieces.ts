/** The pieces of an object that is assembled: checks and sums that every store makes alike. */
import { SpoorError } from "#pkg/errors/errors.ts";
import { checkSignal, shortObject } from "./checks.ts";
import { checkKey } from "./keys.ts";
import type { AssembleOptions, MadeRequest, ObjectRange, Piece } from "./objstore.ts";

/** Ranges below it are read and sent, as no server copies a part that is shorter. 5 MiB. */
export const copyBytesMin: number = 5 * 1024 * 1024;
/** Bytes that are read and sent as one part, at most: twice the shortest part. */
export const joinedBytesMax: number = 2 * copyBytesMin;
/** Parts on their way at the same time. */
export const parallelParts = 4;
/** Sources that are looked up at the same time. */
const parallelLookups = 16;
/** Pieces of one object: ten times the row groups of a large block. */
const piecesMax = 10_000;
/** Largest object of all clouds: 5 TiB. */
const objectBytesMax = 5 * 2 ** 40;

/** Throws what no store takes, before any effect. */
export function checkPieces(
  key: string,
  pieces: readonly Piece[],
  { signal }: AssembleOptions,
): void {
  checkKey(key);
  if (pieces.length > piecesMax) {
    const message = `assemble object ${key}: ${pieces.length} pieces are over ${piecesMax}`;
    throw new SpoorError("InvalidInput", message, { reason: "too_many_pieces" });
  }
  for (const piece of pieces) if (isRange(piece)) checkPiece(piece);
  const sizeBytes = bytesOfPieces(pieces);
  if (sizeBytes > objectBytesMax) {
    const message = `assemble object ${key}: ${sizeBytes} bytes are over ${objectBytesMax}`;
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

/** For messages. */
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
  // Also of ranges that are refused later.
  return pieces.reduce((sum, piece) => sum + (Math.max(0, sizeOf(piece)) || 0), 0);
}

/**
 * Most bytes that a store has on their way at the same time. What the server copies by itself is in
 * it, as only the store knows whether it will.
 */
export function heldBytes(pieces: readonly Piece[]): number {
  return Math.min(bytesOfPieces(pieces), parallelParts * joinedBytesMax);
}

/** Bytes [from, to) of a piece, which shares its memory. */
export function slicePiece(piece: Piece, from: number, to: number): Piece {
  if (!isRange(piece)) return piece.subarray(from, to);
  return { key: piece.key, start: piece.start + from, end: piece.start + to };
}

/** Without empty pieces; ranges that follow each other in their object are one. */
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

/** What a server tells of a source, and a mark that changes with its content. */
export interface Source {
  sizeBytes: number;
}

/**
 * Looks up each source once, so that a missing or short one is found before anything is written.
 * Throws what `lookUp` throws, Corrupt for a short one.
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

/** Runs `run` on all items, some at the same time. After an error none starts; it is thrown. */
export async function inLanes<T>(
  items: readonly T[],
  lanes: number,
  run: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  // What fails later may fail because of the first.
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

/** Makes one request and tells who counts them. */
export async function told<T>(
  { onRequest }: Pick<AssembleOptions, "onRequest">,
  { kind, bytes = 0 }: { kind: MadeRequest["kind"]; bytes?: number },
  request: () => Promise<T>,
): Promise<T> {
  const startMs = performance.now();
  let failed = true;
  try {
    const answer = await request();
    failed = false;
    return answer;
  } finally {
    onRequest?.({ kind, bytes, failed, seconds: (performance.now() - startMs) / 1000 });
  }
}
