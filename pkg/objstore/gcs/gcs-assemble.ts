/**
 * Assembles an object in Google Cloud Storage, which can join whole objects ("compose") but cannot
 * copy ranges.
 *
 *     no piece is a whole object of 5 MiB     all pieces are read and sent as one upload
 *     some pieces are                         the pieces between them become temporary objects;
 *                                             all are composed, 32 at a time
 *
 * Ranges never become temporary objects of their own: a bucket that retains deleted objects bills
 * these for days. Composed objects must have one storage class, which the result inherits. If it
 * is not the configured class, all pieces are read and sent.
 *
 * Sources are looked up first. Reads and compositions are conditional on the generation that was
 * found, so no object is made from two versions of a source.
 */
import { Readable } from "node:stream";
import type { Bucket } from "@google-cloud/storage";
import { abortable, checkSignal, notFound, sourceChanged } from "#pkg/objstore/checks.ts";
import { gcsStatusOf } from "./gcs-errors.ts";
import type { GcsOptions } from "./gcs-options.ts";
import { readRange } from "./gcs-read.ts";
import { metadataOf, sendObject, sumOf } from "./gcs-upload.ts";
import type { AssembleOptions, ObjectRange, Piece } from "#pkg/objstore/object-store.ts";
import { bytesOfPieces, copyBytesMin, inLanes, isRange, joinPieces } from "#pkg/objstore/pieces.ts";
import {
  lookUpSources,
  type Source,
  sizeOf,
  slicePiece,
  reportRequest,
} from "#pkg/objstore/pieces.ts";
import { temporaryKey } from "#pkg/objstore/temporaries.ts";

export interface Assembly extends Pick<AssembleOptions, "onRequest"> {
  bucket: Bucket;
  options: GcsOptions;
  key: string;
  pieces: readonly Piece[];
  signal: AbortSignal | undefined;
}

interface KnownSource extends Source {
  generation: string;
  storageClass: string;
}

type Sources = ReadonlyMap<string, KnownSource>;

/** A component of a composition: a whole object, or pieces that must become an object first. */
type Component = { whole: string; generation: string } | { pieces: Piece[] };

/** Maximum components of one composition; the protocol's limit. */
const componentsMax = 32;
/** Concurrent uploads of temporary objects; each may hold three chunks in memory. */
const parallelSends = 2;
/** Bytes that are read and sent at once. */
const chunkBytes = 8 * 1024 * 1024;
const cleanUpMs = 10_000;

/** Assembles the object. Throws the client's errors, and SpoorErrors for the sources. */
export async function assembleObject(assembly: Assembly): Promise<void> {
  const { key, signal, options } = assembly;
  const pieces = joinPieces(assembly.pieces);
  const lookUp = async (source: string): Promise<KnownSource> => await lookUpIn(assembly, source);
  const sources = await lookUpSources(pieces, lookUp);
  const components = componentsOf(pieces, sources);
  const classes = new Set<string>();
  for (const one of components) {
    if ("whole" in one) classes.add(sources.get(one.whole)!.storageClass);
  }
  const [storageClass = ""] = classes;
  const isRightClass = options.storageClass === "" || options.storageClass === storageClass;
  if (classes.size !== 1 || !isRightClass || temporaryKey(key) === undefined) {
    return await send(assembly, { to: key, pieces, sources, signal });
  }
  await new Composition(assembly, { sources, storageClass }).run(components);
}

function componentsOf(pieces: readonly Piece[], sources: Sources): Component[] {
  const components: Component[] = [];
  for (const piece of pieces) {
    const last = components.at(-1);
    const source = isRange(piece) ? sources.get(piece.key) : undefined;
    const isWhole = source?.sizeBytes === sizeOf(piece) && source.sizeBytes >= copyBytesMin;
    if (isRange(piece) && source !== undefined && isWhole) {
      components.push({ whole: piece.key, generation: source.generation });
    } else if (last !== undefined && "pieces" in last) last.pieces.push(piece);
    else components.push({ pieces: [piece] });
  }
  return components;
}

/** Composes components by way of temporary objects, and removes these at the end. */
class Composition {
  readonly #assembly: Assembly;
  readonly #sources: Sources;
  readonly #storageClass: string;
  readonly #temporaries: string[] = [];
  /** Requests that create objects; after an abort some may still be in flight. */
  readonly #requests: Promise<unknown>[] = [];

  constructor(
    assembly: Assembly,
    { sources, storageClass }: { sources: Sources; storageClass: string },
  ) {
    this.#assembly = assembly;
    this.#sources = sources;
    this.#storageClass = storageClass;
  }

  async run(components: readonly Component[]): Promise<void> {
    try {
      let names = await this.#sendRuns(components);
      while (names.length > componentsMax) names = await this.#composeGroups(names);
      await this.#compose(names, this.#assembly.key);
    } finally {
      await this.#removeTemporaries();
    }
  }

  /** Uploads the components that are not objects yet. Returns the names of all, in order. */
  async #sendRuns(components: readonly Component[]): Promise<Name[]> {
    const names: Name[] = [];
    const failed = new AbortController();
    const { signal: outer } = this.#assembly;
    const signal = AbortSignal.any(outer ? [outer, failed.signal] : [failed.signal]);
    await inLanes([...components.entries()], parallelSends, async ([index, one]) => {
      if ("whole" in one) {
        names[index] = { name: one.whole, generation: one.generation };
        return;
      }
      const { pieces } = one;
      const [sources, storageClass] = [this.#sources, this.#storageClass];
      const to = this.#temporary();
      try {
        await this.#awaitRequest(signal, async () => {
          await send(this.#assembly, { to, pieces, sources, signal, storageClass });
        });
      } catch (error) {
        failed.abort();
        throw error;
      }
      names[index] = { name: to };
    });
    return names;
  }

  async #composeGroups(names: readonly Name[]): Promise<Name[]> {
    const groups: Name[][] = [];
    for (let at = 0; at < names.length; at += componentsMax) {
      groups.push(names.slice(at, at + componentsMax));
    }
    const composed: Name[] = [];
    for (const group of groups) {
      if (group.length > 1) {
        const name = this.#temporary();
        await this.#compose(group, name);
        composed.push({ name });
      } else composed.push(group[0]);
    }
    return composed;
  }

  async #compose(names: readonly Name[], to: string): Promise<void> {
    const { bucket, options, signal } = this.#assembly;
    const { kmsKeyName } = options;
    const compose = async (): Promise<void> => {
      try {
        await bucket.file(to).request({
          method: "POST",
          uri: "/compose",
          json: { destination: metadataOf(options), sourceObjects: names },
          ...(kmsKeyName === "" ? {} : { qs: { kmsKeyName } }),
        });
      } catch (error) {
        if (gcsStatusOf(error) !== 404) throw error;
        throw sourceChanged(names.map(({ name }) => name).join(" or "), error);
      }
    };
    checkSignal(signal, `assemble object ${to}`);
    await this.#awaitRequest(
      signal,
      async () => await reportRequest(this.#assembly, { kind: "assemble" }, compose),
    );
  }

  /** Waits for a request. An abort ends the wait, not the request: its object is removed later. */
  async #awaitRequest(
    signal: AbortSignal | undefined,
    request: () => Promise<void>,
  ): Promise<void> {
    const pending = request();
    this.#requests.push(pending);
    await abortable(pending, signal, `assemble object ${this.#assembly.key}`);
  }

  /** Registers a name before its object is created, which covers a lost response as well. */
  #temporary(): string {
    const name = temporaryKey(this.#assembly.key)!;
    this.#temporaries.push(name);
    return name;
  }

  /**
   * Removes the temporary objects, also after an abort. A failure is counted but not thrown: the
   * assembled object is complete, and the compactor removes the rest.
   */
  async #removeTemporaries(): Promise<void> {
    const { bucket } = this.#assembly;
    const signal = AbortSignal.timeout(cleanUpMs);
    const ended = Promise.allSettled(this.#requests);
    await abortable(ended, signal, "wait for requests").catch(ignoreCleanUpError);
    await inLanes(this.#temporaries, componentsMax, async (name) => {
      const request = async (): Promise<void> => {
        const deleted = bucket.file(name).delete({ ignoreNotFound: true });
        await abortable(deleted, signal, `delete object ${name}`);
      };
      await reportRequest(this.#assembly, { kind: "delete" }, request).catch(ignoreCleanUpError);
    });
  }
}

interface Name {
  name: string;
  /** Undefined for temporary objects, which have only one generation. */
  generation?: string;
}

interface Sending {
  to: string;
  pieces: readonly Piece[];
  sources: Sources;
  signal: AbortSignal | undefined;
  storageClass?: string;
}

/** Uploads pieces as one object; reads the ranges in chunks. */
async function send(assembly: Assembly, sending: Sending): Promise<void> {
  const { bucket, options } = assembly;
  const { to, pieces, signal, storageClass } = sending;
  const bytes = bytesOfPieces(pieces);
  const chunks = chunksOf(assembly, sending);
  // The upload of a temporary object is not aborted: it must end before the object is removed.
  const stop = to === assembly.key ? signal : undefined;
  const common = { options, signal: stop, ...(storageClass === undefined ? {} : { storageClass }) };
  const isSmall = bytes <= chunkBytes;
  const whole = isSmall ? Buffer.concat(await Array.fromAsync(chunks), bytes) : undefined;
  await reportRequest(assembly, { kind: "assemble", bytes }, async () => {
    const source = Readable.from(whole === undefined ? chunks : [whole], { objectMode: false });
    const sum = whole === undefined ? undefined : sumOf(whole);
    const how = { ...common, sum, chunkBytes: isSmall ? undefined : chunkBytes };
    await sendObject(bucket.file(to), source, how);
  });
}

async function* chunksOf(
  assembly: Assembly,
  { pieces, sources, signal }: Sending,
): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) {
    const size = sizeOf(piece);
    for (let at = 0; at < size; at += chunkBytes) {
      checkSignal(signal, `read bytes for object ${assembly.key}`);
      const part = slicePiece(piece, at, Math.min(size, at + chunkBytes));
      yield isRange(part) ? await readSource(assembly, part, { sources, signal }) : part;
    }
  }
}

async function readSource(
  assembly: Assembly,
  range: ObjectRange,
  { sources, signal }: Pick<Sending, "sources" | "signal">,
): Promise<Uint8Array> {
  const { key } = range;
  const generation = sources.get(key)?.generation;
  const file = assembly.bucket.file(key, { generation });
  return await reportRequest(assembly, { kind: "getRange", bytes: sizeOf(range) }, async () => {
    try {
      // The client throws an uncatchable error when a read is aborted before its response. So the
      // read, which is short, runs to its end.
      const read = readRange(file, { ...range, signal: undefined });
      return await abortable(read, signal, `read bytes for object ${assembly.key}`);
    } catch (error) {
      throw gcsStatusOf(error) === 404 ? sourceChanged(key, error) : error;
    }
  });
}

async function lookUpIn(assembly: Assembly, key: string): Promise<KnownSource> {
  const { bucket, signal } = assembly;
  return await reportRequest(assembly, { kind: "head" }, async () => {
    try {
      const found = bucket.file(key).getMetadata();
      const [metadata] = await abortable(found, signal, `look up object ${key}`);
      const { size, generation, storageClass } = metadata;
      return {
        sizeBytes: Number(size ?? 0),
        generation: String(generation ?? ""),
        storageClass: storageClass ?? "",
      };
    } catch (error) {
      throw gcsStatusOf(error) === 404 ? notFound(key, error) : error;
    }
  });
}

/** The request is counted as failed, and the compactor removes what stays behind. */
function ignoreCleanUpError(): void {}
