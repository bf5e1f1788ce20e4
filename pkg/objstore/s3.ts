/**
 * A store in a bucket of S3 or of a server that speaks its protocol: MinIO, Ceph RGW, R2.
 *
 * One call is one try: what retries, waits and limits stands around it (`store-config.ts`). Small
 * objects are one PUT with their CRC-32, which the server checks before it takes them; large ones
 * go up in parts (`s3-upload.ts`), of which the server copies some (`s3-assemble.ts`). The
 * conditional create is `If-None-Match: *`. Whole objects are checked against the checksum that the
 * server kept, where it kept one.
 */
import { S3Client } from "@aws-sdk/client-s3";
import { DeleteObjectCommand, DeleteObjectsCommand } from "@aws-sdk/client-s3";
import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command } from "@aws-sdk/client-s3";
import { readBody } from "./body.ts";
import { checkRange, checkSignal, objectTooLarge, readBytesMax } from "./checks.ts";
import { checkFolderPrefix, checkKey, checkPrefix, compareKeys, folderOf } from "./keys.ts";
import type { AssembleOptions, ListOptions, ObjectInfo } from "./objstore.ts";
import type { ObjectStore, Piece, ReadOptions } from "./objstore.ts";
import { attemptOf, checkPieces } from "./pieces.ts";
import { assembleObject } from "./s3-assemble.ts";
import { type S3Context, s3Error, statusOf } from "./s3-errors.ts";
import { useContentMd5 } from "./s3-content-md5.ts";
import type { S3Options } from "./s3-options.ts";
import { readRange, refuse } from "./s3-read.ts";
import { putInParts, putWhole } from "./s3-upload.ts";

/** Connections of one thread to the server; requests beyond wait. */
const connectionsMax = 128;
const connectTimeoutMs = 10_000;
/** A connection on which nothing moves for this long is given up. */
const silenceMs = 60_000;
/** Keys of one request: the protocol's limit, for lists and for deletes. */
const keysMax = 1000;

/** Makes no request. */
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
    // Retries are Spoor's own: they must know what is safe.
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
      const answer = await this.#client.send(
        new GetObjectCommand(isChecked ? { ...input, ChecksumMode: "ENABLED" } : input),
        { abortSignal: signal },
      );
      const sizeBytes = answer.ContentLength ?? 0;
      if (sizeBytes > readBytesMax) throw await refuse(answer, objectTooLarge(key, sizeBytes));
      return await readBody(answer.Body, { key, sizeBytes, signal });
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
      const place = { client: this.#client, bucket: this.#bucket };
      return await readRange(place, { key, start, end, signal });
    });
  }

  async head(key: string, { signal }: ReadOptions = {}): Promise<ObjectInfo> {
    return await this.#attempt(`look up object ${key}`, { key, signal }, async () => {
      const command = new HeadObjectCommand({ Bucket: this.#bucket, Key: key });
      const answer = await this.#client.send(command, { abortSignal: signal });
      return {
        key,
        sizeBytes: answer.ContentLength ?? 0,
        modifiedMs: wholeSeconds(answer.LastModified),
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
      const answer = await this.#client
        .send(command, { abortSignal: signal })
        .catch((error: unknown) => fail(error, attempt, { signal }));
      const failed = answer.Errors?.find(({ Code }) => Code !== "NoSuchKey");
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
        // Names may hold what XML cannot.
        EncodingType: "url",
      });
      const page: ListPage = await this.#client
        .send(command, { abortSignal: signal })
        .catch((error: unknown) => fail(error, attempt, { signal }));
      yield page;
      ContinuationToken = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (ContinuationToken !== undefined);
  }

  /** Checks key and signal, runs `run`, and maps what it throws. */
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
      // What is written to a bucket that does not exist is not what was not found.
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
 * MinIO refuses to list from or below a name that ends like a way up, though "." begins ".a" too:
 * then its folder is listed, and what was not asked for is passed over.
 */
function withoutDots(prefix: string): string {
  return /(?:^|\/)\.\.?$/u.test(prefix) ? folderOf(prefix) : prefix;
}

/** Lists may tell milliseconds, a look-up tells whole seconds: one object has one time. */
function wholeSeconds(time: Date | undefined): number {
  return Math.floor((time?.getTime() ?? 0) / 1000) * 1000;
}

function fail(error: unknown, attempt: string, context: S3Context): never {
  throw s3Error(error, attempt, context);
}

/** Lists are asked for with `encoding-type=url`, in which a blank may be a plus sign. */
function decodeKey(encoded: string): string {
  return decodeURIComponent(encoded.replaceAll("+", "%20"));
}
