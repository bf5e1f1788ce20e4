/**
 * Tries again what failed and may succeed: with pauses that grow and vary, as long as the budget
 * lasts, and not before the store said it would be ready.
 *
 * A conditional create is not simply repeated: when its answer was lost, the object tells what
 * happened. Ours: it was created. Another's: it was not. None: the same bytes are put again. So
 * callers of `putIfAbsent` must give bytes that no other caller gives (commits hold a unique id).
 */
import type { Clock } from "#pkg/clock/clock.ts";
import { hasCode, SpoorError } from "#pkg/errors/errors.ts";
import { checksumMismatch } from "#pkg/errors/reasons.ts";
import { checkSignal } from "./checks.ts";
import type { StoreLedger } from "./ledger.ts";
import type { AssembleOptions, ListOptions, ObjectInfo } from "./objstore.ts";
import type { ObjectStore, Piece, ReadOptions } from "./objstore.ts";
import { isRange } from "./pieces.ts";

export interface RetryOptions {
  /** Tries of one call, the first one included. */
  attemptsMax: number;
  backoffMinMs: number;
  /** Also the longest wait that a store may ask for; beyond it the caller gets the error. */
  backoffMaxMs: number;
  /** Retries that each call earns, once the first `budgetBurst` are spent. */
  budgetShare: number;
  budgetBurst: number;
  clock: Clock;
  ledger: StoreLedger;
  /** A number in [0, 1), for the pauses. */
  random?: () => number;
}

/** Faults that no second try mends soon. */
const hopeless: ReadonlySet<string> = new Set(["disk_full", "read_only", "tls"]);

/** Tries again of a write that is denied: in vain with credentials that do not allow it. */
const deniedWritesMax = 2;

export function retryStore(store: ObjectStore, options: RetryOptions): ObjectStore {
  return new Retrier(store, options);
}

/** Decides about each next try of one call. */
type NextTry = (error: unknown, signal: AbortSignal | undefined) => Promise<void>;

class Retrier implements ObjectStore {
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
        // An earlier try may have arrived in between.
        return created || (isUnsure && isSame(await this.#store.get(key, options), bytes));
      } catch (error) {
        isUnsure = true;
        throw error;
      }
    });
  }

  async assemble(key: string, pieces: readonly Piece[], options?: AssembleOptions): Promise<void> {
    const call = async (): Promise<void> => await this.#store.assemble(key, pieces, options);
    // After an answer that was lost, the object would be made of its new content.
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

  /** Goes on behind the last object that came. */
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

  /** MinIO denies a write in whose folder the last other object is deleted at that moment. */
  async #write<T>(options: ReadOptions | undefined, call: () => Promise<T>): Promise<T> {
    return await this.#retry(options, call, deniedWritesMax);
  }

  async #retry<T>(
    options: ReadOptions | undefined,
    call: () => Promise<T>,
    deniedMax = 0,
  ): Promise<T> {
    checkSignal(options?.signal, "ask the store");
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

  /** Resolves when the next try is due; throws the error if there is none. */
  #begin(deniedMax = 0): NextTry {
    const { attemptsMax, backoffMinMs, backoffMaxMs, clock, ledger, random } = this.#options;
    let tries = 0;
    return async (error, signal) => {
      tries++;
      if (tries >= attemptsMax || !mayHelp(error, tries <= deniedMax)) throw error;
      checkSignal(signal, error.message);
      if (this.#budget < 1) {
        ledger.addEvent("retryRefused");
        throw error;
      }
      const backoffMs = Math.min(backoffMaxMs, backoffMinMs * 2 ** (tries - 1));
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

function mayHelp(error: unknown, mayBeDenied: boolean): error is SpoorError {
  if (!(error instanceof SpoorError) || hopeless.has(error.reason)) return false;
  if (error.reason === "access_denied" && mayBeDenied) return true;
  // Bytes that changed on their way, not bytes that are wrong in the store for good.
  if (error.reason === checksumMismatch) return true;
  return error.code === "Unavailable" || error.code === "Timeout";
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
