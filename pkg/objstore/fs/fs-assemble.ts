/** Writes pieces into a file: bytes directly, ranges of other files through a buffer. */
import { constants, type FileHandle, open } from "node:fs/promises";
import { checkSignal, notFound, shortObject, sourceChanged } from "#pkg/objstore/checks.ts";
import { errnoOf } from "./fs-errors.ts";
import type { ObjectRange, Piece } from "#pkg/objstore/object-store.ts";
import { isRange, joinPieces } from "#pkg/objstore/pieces.ts";

export interface FileAssembly {
  pieces: readonly Piece[];
  /** Returns the path of an object's file. */
  pathOf: (key: string) => string;
  signal: AbortSignal | undefined;
  /** For messages. */
  attempt: string;
}

/** Size of the copy buffer. */
const bufferBytes = 4 * 1024 * 1024;

/**
 * Writes the pieces. Throws NotFound, Corrupt and Unavailable ("source_changed") for a source, and
 * the errors of the operating system.
 */
export async function writePieces(file: FileHandle, assembly: FileAssembly): Promise<void> {
  const pieces = joinPieces(assembly.pieces);
  const buffer = pieces.some(isRange) ? Buffer.allocUnsafe(bufferBytes) : Buffer.alloc(0);
  // Key -> version of the file at its first piece; another version at a later piece is an error.
  const seen = new Map<string, string>();
  for (const piece of pieces) {
    checkSignal(assembly.signal, assembly.attempt);
    if (isRange(piece)) await copyRange(file, piece, { ...assembly, buffer, seen });
    else await file.writeFile(piece);
  }
}

async function copyRange(
  file: FileHandle,
  { key, start, end }: ObjectRange,
  {
    pathOf,
    signal,
    attempt,
    buffer,
    seen,
  }: FileAssembly & {
    buffer: Buffer;
    seen: Map<string, string>;
  },
): Promise<void> {
  await using source = await openSource(pathOf(key), key, { isKnown: seen.has(key) });
  const stats = await source.stat({ bigint: true });
  // A folder is not an object.
  if (!stats.isFile()) throw notFound(key);
  const { size, ino, mtimeNs } = stats;
  if (size < end) throw shortObject(key, end, Number(size));
  const version = `${ino}:${mtimeNs}:${size}`;
  if ((seen.get(key) ?? version) !== version) throw sourceChanged(key);
  seen.set(key, version);
  for (let at = start; at < end;) {
    checkSignal(signal, attempt);
    const wanted = Math.min(buffer.length, end - at);
    const { bytesRead } = await source.read(buffer, 0, wanted, at);
    if (bytesRead === 0) throw shortObject(key, end, at);
    await file.writeFile(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}

async function openSource(
  path: string,
  key: string,
  { isKnown }: { isKnown: boolean },
): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = errnoOf(error);
    if (code !== "ENOENT" && code !== "ENOTDIR") throw error;
    throw isKnown ? sourceChanged(key, error) : notFound(key, error);
  }
}
