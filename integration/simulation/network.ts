/**
 * The network between one process and the bucket: requests take time and may take effect after
 * their sender timed out or died; responses reach only live processes.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import { abortable, checkSignal } from "#pkg/objstore/checks.ts";
import type { RequestKind } from "#pkg/objstore/ledger.ts";
import type { AssembleOptions, ListOptions, ObjectInfo } from "#pkg/objstore/object-store.ts";
import type { ObjectStore, Piece, ReadOptions } from "#pkg/objstore/object-store.ts";
import type { Dice } from "./dice.ts";
import type { Gate } from "./gate.ts";
import type { VirtualTime } from "./virtual-time.ts";
import type { Weather } from "./weather.ts";

/** A point of an operation where the process may die: before or after its effect. */
export type Moment = "before" | "after";

export interface NetworkOptions {
  store: ObjectStore;
  time: VirtualTime;
  weather: Weather;
  dice: Dice;
  gate: Gate;
  /** Called when a request takes effect. */
  onEffect: (kind: RequestKind, key: string) => void;
  /** May kill the process. */
  onMoment: (what: string, moment: Moment) => void;
}

/** Timeout of a request. */
const timeoutMs = 15_000;
/** Maximum delay of a request that takes effect after its timeout. */
const lateMs = 90_000;

export class Network implements ObjectStore {
  readonly kind = "s3";
  readonly #options: NetworkOptions;

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  async put(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<void> {
    await this.#request("put", key, options, (store) => store.put(key, bytes));
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options?: ReadOptions): Promise<boolean> {
    return await this.#request("putIfAbsent", key, options, (store) =>
      store.putIfAbsent(key, bytes),
    );
  }

  async assemble(key: string, pieces: readonly Piece[], options?: AssembleOptions): Promise<void> {
    await this.#request("assemble", key, options, (store) => store.assemble(key, pieces));
  }

  async get(key: string, options?: ReadOptions): Promise<Uint8Array> {
    return await this.#request("get", key, options, (store) => store.get(key));
  }

  async getRange(
    key: string,
    start: number,
    end: number,
    options?: ReadOptions,
  ): Promise<Uint8Array> {
    return await this.#request("getRange", key, options, (store) =>
      store.getRange(key, start, end),
    );
  }

  async head(key: string, options?: ReadOptions): Promise<ObjectInfo> {
    return await this.#request("head", key, options, (store) => store.head(key));
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncIterable<ObjectInfo> {
    const { startAfter } = options;
    yield* await this.#request("list", prefix, options, async (store) => {
      return await Array.fromAsync(store.list(prefix, { startAfter }));
    });
  }

  async listFolders(prefix: string, options?: ReadOptions): Promise<string[]> {
    return await this.#request("listFolders", prefix, options, (store) =>
      store.listFolders(prefix),
    );
  }

  async delete(key: string, options?: ReadOptions): Promise<void> {
    await this.#request("delete", key, options, (store) => store.delete(key));
  }

  async deleteMany(keys: readonly string[], options?: ReadOptions): Promise<void> {
    const [first = ""] = keys;
    await this.#request("deleteMany", first, options, (store) => store.deleteMany(keys));
  }

  async #request<T>(
    kind: RequestKind,
    key: string,
    options: ReadOptions | undefined,
    effect: (store: ObjectStore) => Promise<T>,
  ): Promise<T> {
    const attempt = `${kind} ${key}`;
    checkSignal(options?.signal, attempt);
    const { gate, onMoment } = this.#options;
    const response = Promise.withResolvers<T>();
    // A dead process never awaits the promise, and its rejection must not be unhandled.
    response.promise.catch(leaveErrorToCaller);
    onMoment(kind, "before");
    if (!gate.isDead) this.#send(kind, key, effect, response);
    return await abortable(response.promise, options?.signal, attempt);
  }

  #send<T>(
    kind: RequestKind,
    key: string,
    effect: (store: ObjectStore) => Promise<T>,
    response: PromiseWithResolvers<T>,
  ): void {
    const { store, time, weather, dice, gate, onEffect, onMoment } = this.#options;
    const arrive = (): Promise<T> => {
      onEffect(kind, key);
      return effect(store);
    };
    if (weather.store === "silent") {
      const fate = dice.float();
      if (fate < 0.3)
        time.after(dice.between(0, lateMs), () => void arrive().catch(ignoreLostResponse));
      time.after(timeoutMs, () => {
        const message = `${kind} ${key}: no response within ${timeoutMs} ms`;
        const error = new SpoorError("Timeout", message, { reason: "request_timeout" });
        gate.deliver(() => response.reject(error));
      });
      return;
    }
    const latencyMs = weather.storeLatencyMs();
    time.after(latencyMs / 2, () => {
      // The request of a dead process was in flight, or was never sent.
      if (gate.isDead && dice.chance(0.5)) return;
      const done = arrive();
      done.catch(leaveErrorToCaller);
      if (!gate.isDead) onMoment(kind, "after");
      time.after(latencyMs / 2, () =>
        gate.deliver(() => void done.then(response.resolve, response.reject)),
      );
    });
  }
}

/** The caller awaits the same promise and gets its error. */
function leaveErrorToCaller(): void {}

/** The response of this request is lost, also if it is an error. */
function ignoreLostResponse(): void {}
