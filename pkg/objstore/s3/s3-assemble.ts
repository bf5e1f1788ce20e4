/**
 * Assembles an object in S3: a multipart upload in which the server copies the long ranges
 * (`s3-parts.ts`), or one PUT if no range is long.
 *
 * Sources are looked up first. Copies and reads are conditional on the `ETag` that was found, so no
 * object is made from two versions of a source.
 *
 * Checksums: a multipart upload with checksums needs one for every part; for a copied part it is
 * the server's. AWS returns it. MinIO refuses the first copy; the upload then starts again without
 * checksums of the whole (sent parts still carry their own). The store remembers this.
 */
import { HeadObjectCommand, UploadPartCopyCommand } from "@aws-sdk/client-s3";
import { SpoorError } from "#pkg/errors/errors.ts";
import { notFound, sourceChanged } from "#pkg/objstore/checks.ts";
import type { ObjectRange, Piece } from "#pkg/objstore/object-store.ts";
import {
  isRange,
  inLanes,
  lookUpSources,
  type Source,
  sizeOf,
  reportRequest,
} from "#pkg/objstore/pieces.ts";
import { statusOf } from "./s3-errors.ts";
import { type CopiedPart, type Part, planParts, type SentPart } from "./s3-parts.ts";
import { readRange } from "./s3-read.ts";
import { type DonePart, type PartAddress, partsMax, putParts, putWhole } from "./s3-upload.ts";
import { sendPart, type Target } from "./s3-upload.ts";

export interface Assembly extends Target {
  pieces: readonly Piece[];
  /** Whether the server returns checksums of copied parts; set to false when it does not. */
  copies: { haveSums: boolean };
}

interface TaggedSource extends Source {
  tag: string | undefined;
}

type Sources = ReadonlyMap<string, TaggedSource>;

/** Concurrent reads of the short ranges of one part. */
const parallelReads = 4;

/** Assembles the object. Throws the SDK's errors, and SpoorErrors for the sources. */
export async function assembleObject(assembly: Assembly): Promise<void> {
  const { key, pieces, copies } = assembly;
  const parts = planParts(pieces);
  if (parts.length > partsMax) {
    const message = `assemble object ${key}: ${parts.length} parts exceed ${partsMax}`;
    throw new SpoorError("TooLarge", message, { reason: "too_many_parts" });
  }
  const lookUp = async (source: string): Promise<TaggedSource> => await lookUpIn(assembly, source);
  const sources = await lookUpSources(pieces, lookUp);
  const isSmall = parts.length === 0 || (parts.length === 1 && parts[0].kind === "sent");
  if (isSmall) {
    const only = parts[0] as SentPart | undefined;
    const { signal } = assembly;
    const bytes =
      only === undefined ? new Uint8Array(0) : await bytesOf(assembly, only, { sources, signal });
    return await putWhole({ ...assembly, bytes }, { isConditional: false });
  }
  const hasCopies = parts.some(({ kind }) => kind === "copied");
  const hasSums = assembly.options.checksums === "when_supported";
  try {
    await putAll(assembly, { parts, sources, hasSums: hasSums && (!hasCopies || copies.haveSums) });
  } catch (error) {
    if (!(error instanceof CopyWithoutChecksum)) throw error;
    await putAll(assembly, { parts, sources, hasSums: false });
    copies.haveSums = false;
  }
}

async function putAll(
  assembly: Assembly,
  { parts, sources, hasSums }: { parts: readonly Part[]; sources: Sources; hasSums: boolean },
): Promise<void> {
  await putParts(assembly, { count: parts.length, hasSums }, async (index, address, signal) => {
    const part = parts[index];
    if (part.kind === "copied") {
      return await copyPart(assembly, part, { address, sources, signal, hasSums });
    }
    const bytes = await bytesOf(assembly, part, { sources, signal });
    return await sendPart(assembly, bytes, { address, signal, hasSums });
  });
}

/** The server returns no checksum for a copied part. */
class CopyWithoutChecksum extends Error {}

async function copyPart(
  assembly: Assembly,
  { range }: CopiedPart,
  { address, sources, signal, hasSums }: PartRun & { address: PartAddress; hasSums: boolean },
): Promise<DonePart> {
  const { client, options } = assembly;
  const { key, start, end } = range;
  const command = new UploadPartCopyCommand({
    ...address,
    CopySource: `${options.bucket}/${key.split("/").map(encodeURIComponent).join("/")}`,
    CopySourceIfMatch: sources.get(key)?.tag,
    CopySourceRange: `bytes=${start}-${end - 1}`,
  });
  const { CopyPartResult } = await reportRequest(assembly, { kind: "assemble" }, async () => {
    try {
      return await client.send(command, { abortSignal: signal });
    } catch (error) {
      if (hasSums && isRefusal(error)) throw new CopyWithoutChecksum("refused", { cause: error });
      throw sourceError(error, key);
    }
  });
  const { ETag, ChecksumCRC32 } = CopyPartResult ?? {};
  if (!hasSums) return { PartNumber: address.PartNumber, ETag };
  if (ChecksumCRC32 === undefined) throw new CopyWithoutChecksum("not returned");
  return { PartNumber: address.PartNumber, ETag, ChecksumCRC32 };
}

/** MinIO says "checksum missing, want CRC32"; the messages of other servers differ. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && /^Invalid(?:Argument|Request)$/u.test(error.name);
}

interface PartRun {
  sources: Sources;
  signal: AbortSignal | undefined;
}

/** Returns the bytes of a part; reads its ranges. */
async function bytesOf(
  assembly: Assembly,
  { pieces, sizeBytes }: SentPart,
  { sources, signal }: PartRun,
): Promise<Uint8Array> {
  const { client, options } = assembly;
  if (pieces.length === 1 && !isRange(pieces[0])) return pieces[0];
  const bytes = new Uint8Array(sizeBytes);
  const reads: { range: ObjectRange; into: Uint8Array }[] = [];
  let filled = 0;
  for (const piece of pieces) {
    const into = bytes.subarray(filled, filled + sizeOf(piece));
    if (isRange(piece)) reads.push({ range: piece, into });
    else into.set(piece);
    filled += into.length;
  }
  await inLanes(reads, parallelReads, async ({ range, into }) => {
    const tag = sources.get(range.key)?.tag;
    await reportRequest(assembly, { kind: "getRange", bytes: into.length }, async () => {
      try {
        const address = { client, bucket: options.bucket };
        await readRange(address, { ...range, signal, tag, into });
      } catch (error) {
        throw sourceError(error, range.key);
      }
    });
  });
  return bytes;
}

async function lookUpIn(assembly: Assembly, key: string): Promise<TaggedSource> {
  const { client, options, signal } = assembly;
  const command = new HeadObjectCommand({ Bucket: options.bucket, Key: key });
  return await reportRequest(assembly, { kind: "head" }, async () => {
    try {
      const { ContentLength, ETag } = await client.send(command, { abortSignal: signal });
      // Some servers match only tags without quotes.
      return { sizeBytes: ContentLength ?? 0, tag: ETag?.replaceAll('"', "") };
    } catch (error) {
      throw statusOf(error) === 404 ? notFound(key, error) : error;
    }
  });
}

/** Maps "missing" and "precondition failed" to source_changed: the look-up found the source. */
function sourceError(error: unknown, key: string): unknown {
  const isGone = error instanceof Error && error.name === "NoSuchKey";
  return isGone || statusOf(error) === 412 ? sourceChanged(key, error) : error;
}
