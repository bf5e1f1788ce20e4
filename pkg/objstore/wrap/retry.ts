/**
 * Retries failures that a later attempt may avoid: with exponential backoff and jitter, within a
 * retry budget, and not before the store's `Retry-After`.
 *
 * A conditional create cannot simply be repeated, because the response of the first attempt may be
 * lost. The retry reads the object first. If it holds our bytes, the create succeeded. If it holds
 * other bytes, another caller won. If there is none, the create is repeated. So callers of
 * `putIfAbsent` must pass bytes that no other caller passes (commits contain a unique id).
 */
import type { Clock } from "#pkg/clock/clock.ts";
import { checksumMismatch, hasCode, SpoorError } from "#pkg/errors/errors.ts";
import { checkSignal } from "#pkg/objstore/checks.ts";
import type { StoreLedger } from "#pkg/objstore/ledger.ts";
import type { AssembleOptions, ListOptions, ObjectInfo } from "#pkg/objstore/object-store.ts";
import type { ObjectStore, Piece, ReadOptions } from "#pkg/objstore/object-store.ts";
import { isRange } from "#pkg/objstore/pieces.ts";

export interface RetryOptions {
  /** Maximum attempts of one call, including the first. */
  attemptsMax: number;
  backoffMinMs: number;
  /** Also the longest `Retry-After` that is honoured; beyond it the caller gets the error. */
  backoffMaxMs: number;
  /** Retries that each call adds to the budget; the budget starts at `budgetBurst`, its maximum. */
  budgetShare: number;
  budgetBurst: number;
  clock: Clock;
  ledger: StoreLedger;
  /** Returns a number in [0, 1), for the jitter. `Math.random` by default. */
  random?: () => number;
}

/** Reasons that a retry does not cure soon. */
const neverRetried: ReadonlySet<string> = new Set(["disk_full", "read_only", "tls"]);

/** Retries of a denied write. With credentials that do not allow it they are in vain. */
const deniedWritesMax = 2;

export function retryStore(store: ObjectStore, options: RetryOptions): ObjectStore {
  return new RetryingStore(store, options);
}

/** Waits for the next attempt of a call, or throws the error if there is none. */
type NextAttempt = (error: unknown, signal: AbortSignal | undefined) => Promise<void>;

class RetryingStore implements ObjectStore {
  readonly kind: string;
  readonly #store: ObjectStore;
  readonly #options: RetryOptions;
  #budget: number;

  constructor(store: ObjectStore, options: RetryOptions) {
    this.kind = store.kind;
    this.#store = store;
    this.#options = options;
    this.#budget = options.budgetBurst;
  }

  async put(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<void> {
    await this.#write(options, async () => await this.#store.put(key, bytes, options));
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<boolean> {
    let isUnsure = false;
    return await this.#write(options, async () => {
      if (isUnsure) {
        const found = await this.#find(key, options);
        if (found !== undefined) return isSame(found, bytes);
      }
      try {
        const created = await this.#store.putIfAbsent(key, bytes, options);
        // An earlier attempt may have taken effect after the read above.
        return created || (isUnsure && isSame(await this.#store.get(key, options), bytes));
      } catch (error) {
        isUnsure = true;
        throw error;
      }
    });
  }

  async assemble(key: string, pieces: readonly Piece[], options?: AssembleOptions): Promise<void> {
    const call = async (): Promise<void> => await this.#store.assemble(key, pieces, options);
    // If the response was lost, a retry would copy from the new content.
    const isOwnSource = pieces.some((piece) => isRange(piece) && piece.key === key);
    if (isOwnSource) await call();
    else await this.#write(options, call);
  }

  async get(key: string, options?: ReadOptions): Promise<Uint8Array> {
    return await this.#retry(options, async () => await this.#store.get(key, options));
  }

  async getRange(
    key: string,
    start: number,
    end: number,
    options?: ReadOptions,
  ): Promise<Uint8Array> {
    const call = async (): Promise<Uint8Array> =>
      await this.#store.getRange(key, start, end, options);
    return await this.#retry(options, call);
  }

  async head(key: string, options?: ReadOptions): Promise<ObjectInfo> {
    return await this.#retry(options, async () => await this.#store.head(key, options));
  }

  /** Resumes after the last object that was listed. */
  async *list(prefix: string, options: ListOptions = {}): AsyncIterable<ObjectInfo> {
    let { startAfter } = options;
    checkSignal(options.signal, `list objects ${prefix}`);
    let next = this.#begin();
    for (;;) {
      try {
        for await (const info of this.#store.list(prefix, { ...options, startAfter })) {
          yield info;
          startAfter = info.key;
          next = this.#begin();
        }
        return;
      } catch (error) {
        await next(error, options.signal);
      }
    }
  }

  async listFolders(prefix: string, options?: ReadOptions): Promise<string[]> {
    return await this.#retry(options, async () => await this.#store.listFolders(prefix, options));
  }

  async delete(key: string, options?: ReadOptions): Promise<void> {
    await this.#retry(options, async () => await this.#store.delete(key, options));
  }

  async deleteMany(keys: readonly string[], options?: ReadOptions): Promise<void> {
    await this.#retry(options, async () => await this.#store.deleteMany(keys, options));
  }

  async #find(key: string, options?: ReadOptions): Promise<Uint8Array | undefined> {
    try {
      return await this.#store.get(key, options);
    } catch (error) {
      if (hasCode(error, "NotFound")) return undefined;
      throw error;
    }
  }

  /** MinIO denies a write while the last other object in its folder is being deleted. */
  async #write<T>(options: ReadOptions | undefined, call: () => Promise<T>): Promise<T> {
    return await this.#retry(options, call, deniedWritesMax);
  }

  async #retry<T>(
    options: ReadOptions | undefined,
    call: () => Promise<T>,
    deniedMax = 0,
  ): Promise<T> {
    checkSignal(options?.signal, "send a request to the store");
    this.#budget = Math.min(this.#options.budgetBurst, this.#budget + this.#options.budgetShare);
    const next = this.#begin(deniedMax);
    for (;;) {
      try {
        return await call();
      } catch (error) {
        await next(error, options?.signal);
      }
    }
  }

  /** Starts the attempts of one call. */
  #begin(deniedMax = 0): NextAttempt {
    const { attemptsMax, backoffMinMs, backoffMaxMs, clock, ledger, random } = this.#options;
    let attempts = 0;
    return async (error, signal) => {
      attempts++;
      if (attempts >= attemptsMax || !isRetryable(error, attempts <= deniedMax)) throw error;
      checkSignal(signal, error.message);
      if (this.#budget < 1) {
        ledger.addEvent("retryRefused");
        throw error;
      }
      const backoffMs = Math.min(backoffMaxMs, backoffMinMs * 2 ** (attempts - 1));
      const waitMs = Math.max(
        backoffMs * (0.5 + 0.5 * (random ?? Math.random)()),
        error.retryAfterMs ?? 0,
      );
      if (waitMs > backoffMaxMs) throw error;
      this.#budget--;
      ledger.addEvent("retry");
      try {
        await clock.sleep(waitMs, signal);
      } catch (cause) {
        checkSignal(signal, error.message);
        throw cause;
      }
    };
  }
}

function isRetryable(error: unknown, mayBeDenied: boolean): error is SpoorError {
  if (!(error instanceof SpoorError) || neverRetried.has(error.reason)) return false;
  if (error.reason === "access_denied" && mayBeDenied) return true;
  // The bytes changed in transit; they are not damaged in the store.
  if (error.reason === checksumMismatch) return true;
  return error.code === "Unavailable" || error.code === "Timeout";
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
