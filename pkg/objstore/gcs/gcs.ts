/**
 * A store in a bucket of Google Cloud Storage. One call is one attempt, as in `s3.ts`. The
 * conditional create is `ifGenerationMatch: 0`. Writes carry a CRC-32C, which the server verifies;
 * reads of whole objects are verified against the stored one. Large objects use a resumable upload,
 * or are composed of others (`gcs-assemble.ts`).
 */
import { Readable } from "node:stream";
import { type Bucket, type File, Storage } from "@google-cloud/storage";
import { abortable, checkRange, checkSignal } from "#pkg/objstore/checks.ts";
import { assembleObject } from "./gcs-assemble.ts";
import { type GcsContext, gcsError, gcsStatusOf } from "./gcs-errors.ts";
import type { GcsOptions } from "./gcs-options.ts";
import { readRange, readWhole } from "./gcs-read.ts";
import { sendObject, sumOf } from "./gcs-upload.ts";
import { checkFolderPrefix, checkKey, checkPrefix, compareKeys } from "#pkg/objstore/keys.ts";
import type { AssembleOptions, ListOptions, ObjectInfo } from "#pkg/objstore/object-store.ts";
import type { ObjectStore, Piece, ReadOptions } from "#pkg/objstore/object-store.ts";
import { attemptOf, checkPieces } from "#pkg/objstore/pieces.ts";

/** Objects per page of a list: the protocol's limit. */
const pageSize = 1000;
/** Concurrent deletes: the protocol has no multi-object delete. */
const parallelDeletes = 16;

/** Opens the store without a request to the server. */
export function openGcsStore(options: GcsOptions): ObjectStore {
  return new GcsStore(options);
}

function connect(options: GcsOptions): Bucket {
  const { endpoint, projectId, keyFile, anonymous, kmsKeyName } = options;
  const storage = new Storage({
    // `retry.ts` retries instead: it knows which calls are safe to repeat.
    retryOptions: { autoRetry: false, maxRetries: 0 },
    ...(endpoint === "" ? {} : { apiEndpoint: endpoint, useAuthWithCustomEndpoint: !anonymous }),
    ...(projectId === "" ? {} : { projectId }),
    ...(keyFile === "" ? {} : { keyFilename: keyFile }),
  });
  return storage.bucket(options.bucket, kmsKeyName === "" ? {} : { kmsKeyName });
}

class GcsStore implements ObjectStore {
  readonly kind = "gcs";
  readonly #bucket: Bucket;
  readonly #options: GcsOptions;

  constructor(options: GcsOptions) {
    this.#bucket = connect(options);
    this.#options = options;
  }

  async put(key: string, bytes: Uint8Array, { signal }: ReadOptions = {}): Promise<void> {
    const attempt = `write object ${key} of ${bytes.length} bytes`;
    await this.#attempt(attempt, { key, signal, isWrite: true }, async (file) => {
      await this.#upload(file, bytes, { isConditional: false, signal });
    });
  }

  async putIfAbsent(
    key: string,
    bytes: Uint8Array,
    { signal }: ReadOptions = {},
  ): Promise<boolean> {
    const attempt = `create object ${key} of ${bytes.length} bytes`;
    return await this.#attempt(attempt, { key, signal, isWrite: true }, async (file) => {
      try {
        await this.#upload(file, bytes, { isConditional: true, signal });
        return true;
      } catch (error) {
        if (gcsStatusOf(error) === 412) return false;
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
    const { signal } = options;
    await this.#attempt(attemptOf(key, pieces), { key, signal, isWrite: true }, async () => {
      const target = { bucket: this.#bucket, options: this.#options, signal };
      await assembleObject({ ...target, key, pieces, onRequest: options.onRequest });
    });
  }

  async get(key: string, { signal }: ReadOptions = {}): Promise<Uint8Array> {
    return await this.#attempt(`read object ${key}`, { key, signal }, async (file) => {
      return await readWhole(file, { key, signal });
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
    return await this.#attempt(attempt, { key, signal }, async (file) => {
      return await readRange(file, { key, start, end, signal });
    });
  }

  async head(key: string, { signal }: ReadOptions = {}): Promise<ObjectInfo> {
    return await this.#attempt(`look up object ${key}`, { key, signal }, async (file) => {
      await abortable(file.getMetadata(), signal, `look up object ${key}`);
      return infoOf(file);
    });
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncIterable<ObjectInfo> {
    checkPrefix(prefix);
    const { startAfter = "", signal } = options;
    const attempt = `list objects ${prefix}`;
    checkSignal(signal, attempt);
    const query = startAfter === "" ? {} : { startOffset: startAfter };
    for await (const { files } of this.#pages(prefix, query, { attempt, signal })) {
      for (const file of files) {
        if (startAfter !== "" && compareKeys(file.name, startAfter) <= 0) continue;
        yield infoOf(file);
        checkSignal(signal, attempt);
      }
    }
  }

  async listFolders(prefix: string, { signal }: ReadOptions = {}): Promise<string[]> {
    checkFolderPrefix(prefix);
    const attempt = `list folders ${prefix}`;
    checkSignal(signal, attempt);
    const folders: string[] = [];
    for await (const page of this.#pages(prefix, { delimiter: "/" }, { attempt, signal })) {
      for (const folder of page.folders) folders.push(folder.slice(prefix.length, -1));
    }
    return folders.sort(compareKeys);
  }

  async delete(key: string, { signal }: ReadOptions = {}): Promise<void> {
    const attempt = `delete object ${key}`;
    await this.#attempt(attempt, { key, signal }, async (file) => {
      await abortable(file.delete({ ignoreNotFound: true }), signal, attempt);
    });
  }

  async deleteMany(keys: readonly string[], options: ReadOptions = {}): Promise<void> {
    for (const key of keys) checkKey(key);
    checkSignal(options.signal, `delete ${keys.length} objects`);
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < keys.length) await this.delete(keys[next++], options);
    };
    const lanes = await Promise.allSettled(Array.from({ length: parallelDeletes }, lane));
    for (const { status, reason } of lanes as PromiseRejectedResult[]) {
      if (status === "rejected") throw reason;
    }
  }

  async #upload(
    file: File,
    bytes: Uint8Array,
    { isConditional, signal }: { isConditional: boolean; signal: AbortSignal | undefined },
  ): Promise<void> {
    const { partBytes } = this.#options;
    const chunkBytes = isConditional || bytes.length <= partBytes ? undefined : partBytes;
    const source = Readable.from([bytes], { objectMode: false });
    const sum = sumOf(bytes);
    await sendObject(file, source, {
      options: this.#options,
      isConditional,
      chunkBytes,
      sum,
      signal,
    });
  }

  async *#pages(
    prefix: string,
    query: { startOffset?: string; delimiter?: string },
    { attempt, signal }: { attempt: string; signal: AbortSignal | undefined },
  ): AsyncGenerator<{ files: File[]; folders: string[] }> {
    let pageToken: string | undefined;
    do {
      const common = { autoPaginate: false, maxResults: pageSize, pageToken };
      let page: [File[], { pageToken?: string } | null, { prefixes?: string[] }];
      try {
        const request = this.#bucket.getFiles({ ...query, ...common, prefix });
        page = (await abortable(request, signal, attempt)) as typeof page;
      } catch (error) {
        throw gcsError(error, attempt, { signal });
      }
      const [files, next, response] = page;
      yield { files, folders: response.prefixes ?? [] };
      pageToken = next?.pageToken;
    } while (pageToken !== undefined);
  }

  /** Checks key and signal, runs `run`, and maps its errors. */
  async #attempt<T>(
    attempt: string,
    { isWrite = false, ...context }: GcsContext & { key: string; isWrite?: boolean },
    run: (file: File) => Promise<T>,
  ): Promise<T> {
    checkKey(context.key);
    checkSignal(context.signal, attempt);
    try {
      return await run(this.#bucket.file(context.key));
    } catch (error) {
      // The 404 of a write means that the bucket is missing, not the object.
      const { signal } = context;
      throw gcsError(error, attempt, isWrite ? { signal } : context);
    }
  }
}

function infoOf({ name, metadata }: File): ObjectInfo {
  const time = metadata.updated ?? metadata.timeCreated ?? "";
  return { key: name, sizeBytes: Number(metadata.size ?? 0), modifiedMs: Date.parse(time) || 0 };
}
export type { GcsOptions } from "./gcs-options.ts";
