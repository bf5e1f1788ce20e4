/**
 * Makes an object of pieces in S3: an upload in parts of which the server copies the long ones
 * (`s3-parts.ts`), or one PUT where nothing is long.
 *
 * Sources are looked up first. Copies and reads name the tag (`ETag`) that was found, so that no
 * object is made of two versions of one source.
 *
 * Sums: an upload with checksums wants one of every part, of copied ones the server's own. AWS
 * gives it; MinIO refuses the first copy, and then the upload is begun again without (parts that
 * are sent still have theirs). The store remembers.
 */
import { HeadObjectCommand, UploadPartCopyCommand } from "@aws-sdk/client-s3";
import { SpoorError } from "#pkg/errors/errors.ts";
import { notFound, sourceChanged } from "./checks.ts";
import type { ObjectRange, Piece } from "./objstore.ts";
import { isRange, inLanes, lookUpSources, type Source, sizeOf, told } from "./pieces.ts";
import { statusOf } from "./s3-errors.ts";
import { type CopiedPart, type Part, planParts, type SentPart } from "./s3-parts.ts";
import { readRange } from "./s3-read.ts";
import { type DonePart, type PartPlace, partsMax, putParts, putWhole } from "./s3-upload.ts";
import { sendPart, type Target } from "./s3-upload.ts";

export interface Assembly extends Target {
  pieces: readonly Piece[];
  /** Whether the server gives sums of what it copies; set to false when it turns out not to. */
  copies: { haveSums: boolean };
}

interface TaggedSource extends Source {
  tag: string | undefined;
}

type Sources = ReadonlyMap<string, TaggedSource>;

/** Reads of the short ranges of one part at the same time. */
const parallelReads = 4;

/** Throws the SDK's errors, and SpoorErrors about the sources. */
export async function assembleObject(assembly: Assembly): Promise<void> {
  const { key, pieces, copies } = assembly;
  const parts = planParts(pieces);
  if (parts.length > partsMax) {
    const message = `assemble object ${key}: ${parts.length} parts are over ${partsMax}`;
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
    if (!(error instanceof NoSumOfCopy)) throw error;
    await putAll(assembly, { parts, sources, hasSums: false });
    copies.haveSums = false;
  }
}

async function putAll(
  assembly: Assembly,
  { parts, sources, hasSums }: { parts: readonly Part[]; sources: Sources; hasSums: boolean },
): Promise<void> {
  await putParts(assembly, { count: parts.length, hasSums }, async (index, place, signal) => {
    const part = parts[index];
    if (part.kind === "copied") {
      return await copyPart(assembly, part, { place, sources, signal, hasSums });
    }
    const bytes = await bytesOf(assembly, part, { sources, signal });
    return await sendPart(assembly, bytes, { place, signal, hasSums });
  });
}

/** The server copies without sums. */
class NoSumOfCopy extends Error {}

async function copyPart(
  assembly: Assembly,
  { range }: CopiedPart,
  { place, sources, signal, hasSums }: PartRun & { place: PartPlace; hasSums: boolean },
): Promise<DonePart> {
  const { client, options } = assembly;
  const { key, start, end } = range;
  const command = new UploadPartCopyCommand({
    ...place,
    CopySource: `${options.bucket}/${key.split("/").map(encodeURIComponent).join("/")}`,
    CopySourceIfMatch: sources.get(key)?.tag,
    CopySourceRange: `bytes=${start}-${end - 1}`,
  });
  const { CopyPartResult } = await told(assembly, { kind: "assemble" }, async () => {
    try {
      return await client.send(command, { abortSignal: signal });
    } catch (error) {
      if (hasSums && isRefusal(error)) throw new NoSumOfCopy("refused", { cause: error });
      throw sourceError(error, key);
    }
  });
  const { ETag, ChecksumCRC32 } = CopyPartResult ?? {};
  if (!hasSums) return { PartNumber: place.PartNumber, ETag };
  if (ChecksumCRC32 === undefined) throw new NoSumOfCopy("not told");
  return { PartNumber: place.PartNumber, ETag, ChecksumCRC32 };
}

/** MinIO: "checksum missing, want CRC32"; others have other words for it. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && /^Invalid(?:Argument|Request)$/u.test(error.name);
}

interface PartRun {
  sources: Sources;
  signal: AbortSignal | undefined;
}

/** The bytes of a part, of which the ranges are read. */
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
    await told(assembly, { kind: "getRange", bytes: into.length }, async () => {
      try {
        const place = { client, bucket: options.bucket };
        await readRange(place, { ...range, signal, tag, into });
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
  return await told(assembly, { kind: "head" }, async () => {
    try {
      const { ContentLength, ETag } = await client.send(command, { abortSignal: signal });
      // Some servers compare only tags without quotes.
      return { sizeBytes: ContentLength ?? 0, tag: ETag?.replaceAll('"', "") };
    } catch (error) {
      throw statusOf(error) === 404 ? notFound(key, error) : error;
    }
  });
}

/** The source was there, with this tag, when it was looked up. */
function sourceError(error: unknown, key: string): unknown {
  const isGone = error instanceof Error && error.name === "NoSuchKey";
  return isGone || statusOf(error) === 412 ? sourceChanged(key, error) : error;
}
