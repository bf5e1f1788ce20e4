/**
 * A store in a bucket of S3, or of a server with the S3 protocol: MinIO, Ceph RGW, R2.
 *
 * One call is one attempt; wrappers add retries, timeouts and limits (`store-config.ts`). Small
 * objects are written by one PUT with a CRC-32, which the server verifies. Large ones are uploaded
 * in parts (`s3-upload.ts`), some of which the server copies (`s3-assemble.ts`). The conditional
 * create is `If-None-Match: *`. Reads of whole objects are verified against the checksum that the
 * server stored, if it has one.
 */
import { S3Client } from "@aws-sdk/client-s3";
import { DeleteObjectCommand, DeleteObjectsCommand } from "@aws-sdk/client-s3";
import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command } from "@aws-sdk/client-s3";
import { readBody } from "#pkg/objstore/body.ts";
import { checkRange, checkSignal, objectTooLarge, readBytesMax } from "#pkg/objstore/checks.ts";
import {
  checkFolderPrefix,
  checkKey,
  checkPrefix,
  compareKeys,
  folderOf,
} from "#pkg/objstore/keys.ts";
import type { AssembleOptions, ListOptions, ObjectInfo } from "#pkg/objstore/object-store.ts";
import type { ObjectStore, Piece, ReadOptions } from "#pkg/objstore/object-store.ts";
import { attemptOf, checkPieces } from "#pkg/objstore/pieces.ts";
import { assembleObject } from "./s3-assemble.ts";
import { type S3Context, s3Error, statusOf } from "./s3-errors.ts";
import { useContentMd5 } from "./s3-content-md5.ts";
import type { S3Options } from "./s3-options.ts";
import { readRange, refuse } from "./s3-read.ts";
import { putInParts, putWhole } from "./s3-upload.ts";

/** Maximum connections of one thread to the server; further requests wait. */
const connectionsMax = 128;
const connectTimeoutMs = 10_000;
/** Idle timeout of a connection with a request in flight. */
const silenceMs = 60_000;
/** Keys per request: the protocol's limit for lists and deletes. */
const keysMax = 1000;

/** Opens the store without a request to the server. */
export function openS3Store(options: S3Options): ObjectStore {
  return new S3Store(options);
}

function connect(options: S3Options): S3Client {
  const { endpoint, region, pathStyle, accessKeyId, secretAccessKey, sessionToken } = options;
  const agent = { keepAlive: true, maxSockets: connectionsMax };
  const checksums = options.checksums === "when_supported" ? "WHEN_SUPPORTED" : "WHEN_REQUIRED";
  return new S3Client({
    region,
    forcePathStyle: pathStyle,
    ...(endpoint === "" ? {} : { endpoint }),
    ...(accessKeyId === ""
      ? {}
      : {
          credentials: {
            accessKeyId,
            secretAccessKey,
            ...(sessionToken === "" ? {} : { sessionToken }),
          },
        }),
    // `retry.ts` retries instead: it knows which calls are safe to repeat.
    maxAttempts: 1,
    requestChecksumCalculation: checksums,
    responseChecksumValidation: checksums,
    systemClockOffset: options.clockOffsetMs ?? 0,
    requestHandler: {
      connectionTimeout: connectTimeoutMs,
      socketTimeout: silenceMs,
      httpAgent: agent,
      httpsAgent: agent,
    },
  });
}

class S3Store implements ObjectStore {
  readonly kind = "s3";
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #options: S3Options;
  readonly #copies = { haveSums: true };

  constructor(options: S3Options) {
    this.#client = connect(options);
    if (options.checksums === "when_required") useContentMd5(this.#client);
    this.#bucket = options.bucket;
    this.#options = options;
    this.#copies.haveSums = options.checksums === "when_supported";
  }

  async put(key: string, bytes: Uint8Array, { signal }: ReadOptions = {}): Promise<void> {
    const attempt = `write object ${key} of ${bytes.length} bytes`;
    const upload = { client: this.#client, options: this.#options, key, bytes, signal };
    await this.#attempt(attempt, { key, signal, isWrite: true }, async () => {
      if (bytes.length > this.#options.partBytes) await putInParts(upload);
      else await putWhole(upload, { isConditional: false });
    });
  }

  async putIfAbsent(
    key: string,
    bytes: Uint8Array,
    { signal }: ReadOptions = {},
  ): Promise<boolean> {
    const attempt = `create object ${key} of ${bytes.length} bytes`;
    const upload = { client: this.#client, options: this.#options, key, bytes, signal };
    return await this.#attempt(attempt, { key, signal, isWrite: true }, async () => {
      try {
        await putWhole(upload, { isConditional: true });
        return true;
      } catch (error) {
        if (statusOf(error) === 412) return false;
        throw error;
      }
    });
  }

  async assemble(
    key: string,
    pieces: readonly Piece[],
    options: AssembleOptions = {},
  ): Promise<void> {
    checkPieces(key, pieces, options);
    const { signal, onRequest } = options;
    const target = { client: this.#client, options: this.#options, key, signal, onRequest };
    await this.#attempt(attemptOf(key, pieces), { key, signal, isWrite: true }, async () => {
      await assembleObject({ ...target, pieces, copies: this.#copies });
    });
  }

  async get(key: string, { signal }: ReadOptions = {}): Promise<Uint8Array> {
    const isChecked = this.#options.checksums === "when_supported";
    return await this.#attempt(`read object ${key}`, { key, signal }, async () => {
      const input = { Bucket: this.#bucket, Key: key };
      const response = await this.#client.send(
        new GetObjectCommand(isChecked ? { ...input, ChecksumMode: "ENABLED" } : input),
        { abortSignal: signal },
      );
      const sizeBytes = response.ContentLength ?? 0;
      if (sizeBytes > readBytesMax) throw await refuse(response, objectTooLarge(key, sizeBytes));
      return await readBody(response.Body, { key, sizeBytes, signal });
    });
  }

  async getRange(
    key: string,
    start: number,
    end: number,
    { signal }: ReadOptions = {},
  ): Promise<Uint8Array> {
    checkRange(key, start, end);
    const attempt = `read bytes ${start} to ${end} of object ${key}`;
    return await this.#attempt(attempt, { key, signal }, async () => {
      const target = { client: this.#client, bucket: this.#bucket };
      return await readRange(target, { key, start, end, signal });
    });
  }

  async head(key: string, { signal }: ReadOptions = {}): Promise<ObjectInfo> {
    return await this.#attempt(`look up object ${key}`, { key, signal }, async () => {
      const command = new HeadObjectCommand({ Bucket: this.#bucket, Key: key });
      const response = await this.#client.send(command, { abortSignal: signal });
      return {
        key,
        sizeBytes: response.ContentLength ?? 0,
        modifiedMs: wholeSeconds(response.LastModified),
      };
    });
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncIterable<ObjectInfo> {
    checkPrefix(prefix);
    const { startAfter = "", signal } = options;
    const attempt = `list objects ${prefix}`;
    checkSignal(signal, attempt);
    const input = { StartAfter: withoutDots(startAfter) || undefined };
    for await (const page of this.#pages(withoutDots(prefix), input, { attempt, signal })) {
      for (const { Key, Size, LastModified } of page.Contents ?? []) {
        const key = decodeKey(Key ?? "");
        if (compareKeys(key, startAfter) <= 0 || compareKeys(key, prefix) < 0) continue;
        if (!key.startsWith(prefix)) return;
        yield { key, sizeBytes: Size ?? 0, modifiedMs: wholeSeconds(LastModified) };
        checkSignal(signal, attempt);
      }
    }
  }

  async listFolders(prefix: string, { signal }: ReadOptions = {}): Promise<string[]> {
    checkFolderPrefix(prefix);
    const attempt = `list folders ${prefix}`;
    checkSignal(signal, attempt);
    const folders: string[] = [];
    for await (const page of this.#pages(prefix, { Delimiter: "/" }, { attempt, signal })) {
      for (const { Prefix } of page.CommonPrefixes ?? []) {
        folders.push(decodeKey(Prefix ?? "").slice(prefix.length, -1));
      }
    }
    return folders.sort(compareKeys);
  }

  async delete(key: string, { signal }: ReadOptions = {}): Promise<void> {
    await this.#attempt(`delete object ${key}`, { key, signal }, async () => {
      const command = new DeleteObjectCommand({ Bucket: this.#bucket, Key: key });
      try {
        await this.#client.send(command, { abortSignal: signal });
      } catch (error) {
        if (!(error instanceof Error) || error.name !== "NoSuchKey") throw error;
      }
    });
  }

  async deleteMany(keys: readonly string[], { signal }: ReadOptions = {}): Promise<void> {
    for (const key of keys) checkKey(key);
    const attempt = `delete ${keys.length} objects`;
    checkSignal(signal, attempt);
    for (let start = 0; start < keys.length; start += keysMax) {
      const some = keys.slice(start, start + keysMax);
      const Delete = { Quiet: true, Objects: some.map((Key) => ({ Key })) };
      const command = new DeleteObjectsCommand({ Bucket: this.#bucket, Delete });
      const response = await this.#client
        .send(command, { abortSignal: signal })
        .catch((error: unknown) => fail(error, attempt, { signal }));
      const failed = response.Errors?.find(({ Code }) => Code !== "NoSuchKey");
      if (failed === undefined) continue;
      const cause = Object.assign(new Error(failed.Message ?? ""), { name: failed.Code ?? "" });
      throw s3Error(cause, `delete object ${failed.Key ?? ""}`);
    }
  }

  async *#pages(
    prefix: string,
    input: { StartAfter?: string; Delimiter?: string },
    { attempt, signal }: { attempt: string; signal: AbortSignal | undefined },
  ): AsyncGenerator<ListPage> {
    let ContinuationToken: string | undefined;
    do {
      const command = new ListObjectsV2Command({
        ...input,
        ContinuationToken,
        Bucket: this.#bucket,
        Prefix: prefix || undefined,
        // Keys may contain characters that XML cannot encode.
        EncodingType: "url",
      });
      const page: ListPage = await this.#client
        .send(command, { abortSignal: signal })
        .catch((error: unknown) => fail(error, attempt, { signal }));
      yield page;
      ContinuationToken = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (ContinuationToken !== undefined);
  }

  /** Checks key and signal, runs `run`, and maps its errors. */
  async #attempt<T>(
    attempt: string,
    { isWrite = false, ...context }: S3Context & { key: string; isWrite?: boolean },
    run: () => Promise<T>,
  ): Promise<T> {
    checkKey(context.key);
    checkSignal(context.signal, attempt);
    try {
      return await run();
    } catch (error) {
      // The 404 of a write means that the bucket is missing, not the object.
      const { signal } = context;
      throw s3Error(error, attempt, isWrite ? { signal } : context);
    }
  }
}

interface ListPage {
  Contents?: { Key?: string; Size?: number; LastModified?: Date }[];
  CommonPrefixes?: { Prefix?: string }[];
  IsTruncated?: boolean;
  NextContinuationToken?: string;
}

/**
 * MinIO refuses prefixes and start keys that end with a "." or ".." segment, though "." is a prefix
 * of ".a". For these the list starts at the folder, and `list` skips the surplus keys.
 */
function withoutDots(prefix: string): string {
  return /(?:^|\/)\.\.?$/u.test(prefix) ? folderOf(prefix) : prefix;
}

/** Rounds down to seconds: lists may return milliseconds for an object, `head` never does. */
function wholeSeconds(time: Date | undefined): number {
  return Math.floor((time?.getTime() ?? 0) / 1000) * 1000;
}

function fail(error: unknown, attempt: string, context: S3Context): never {
  throw s3Error(error, attempt, context);
}

/** Decodes a key of a list with `encoding-type=url`, in which "+" may stand for a space. */
function decodeKey(encoded: string): string {
  return decodeURIComponent(encoded.replaceAll("+", "%20"));
}
export type { S3Options } from "./s3-options.ts";
