/**
 * Calls between a thread and its worker over a message port: calls with results, and notices
 * without. Errors are sent as data, because structured clone would lose their code.
 */
import type { TransferListItem } from "node:worker_threads";
import { type ErrorData, errorFromData, errorToData, SpoorError } from "#pkg/errors/errors.ts";

/** A worker, or the port to the parent thread. */
export interface Port {
  postMessage(message: unknown, transfer?: readonly TransferListItem[]): void;
  on(event: string, listener: (value: unknown) => void): unknown;
}

type Message =
  | { kind: "call"; id: number; method: string; args: unknown }
  | { kind: "notice"; method: string; args: unknown }
  | { kind: "answer"; id: number; value: unknown }
  | { kind: "failure"; id: number; error: ErrorData };

/** A result whose buffers are transferred to the caller instead of copied. */
export class Transferred {
  readonly value: unknown;
  readonly transfer: readonly TransferListItem[];

  constructor(value: unknown, transfer: readonly TransferListItem[]) {
    this.value = value;
    this.transfer = transfer;
  }
}

export type Handlers = Record<string, (args: never) => unknown>;

interface PendingCall {
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

export class Rpc {
  readonly #port: Port;
  readonly #handlers: Handlers;
  readonly #pending = new Map<number, PendingCall>();
  #nextId = 0;
  #closed: SpoorError | undefined;

  /**
   * `handlers` serve the calls and notices of the other side; errors of a call are sent back to the
   * caller.
   */
  constructor(port: Port, handlers: Handlers) {
    this.#port = port;
    this.#handlers = handlers;
    port.on("message", (message) => this.#receive(message as Message));
  }

  /**
   * Calls a method of the other side. Rejects with the method's error, with Canceled when `signal`
   * aborts (the other side continues, its result is dropped), with the error given to `close`, or
   * with Internal if `args` cannot be cloned.
   */
  call(method: string, args: unknown, signal?: AbortSignal): Promise<unknown> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (signal?.aborted) return Promise.reject(canceled(method));
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const onAbort = (): void => this.#pending.get(id)?.reject(canceled(method));
    const settled = (): void => {
      this.#pending.delete(id);
      signal?.removeEventListener("abort", onAbort);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#pending.set(id, {
      resolve: (value) => {
        settled();
        resolve(value);
      },
      reject: (error) => {
        settled();
        reject(error);
      },
    });
    try {
      this.#port.postMessage({ kind: "call", id, method, args } satisfies Message);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const error = new SpoorError("Internal", `call ${method}: ${why}`, { cause });
      this.#pending.get(id)?.reject(error);
    }
    return promise;
  }

  /** Sends a notice to the other side, without a result. */
  notify(method: string, args: unknown): void {
    if (this.#closed === undefined) {
      this.#port.postMessage({ kind: "notice", method, args } satisfies Message);
    }
  }

  /** Whether `close` was called. */
  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  /** Fails all pending and later calls, because the other side is gone. The first error is kept. */
  close(error: SpoorError): void {
    this.#closed ??= error;
    for (const { reject } of this.#pending.values()) reject(this.#closed);
  }

  #receive(message: Message): void {
    switch (message.kind) {
      case "call":
        void this.#answer(message.id, message.method, message.args);
        return;
      case "notice":
        this.#handlers[message.method]?.(message.args as never);
        return;
      default: {
        const pending = this.#pending.get(message.id);
        if (message.kind === "answer") pending?.resolve(message.value);
        else pending?.reject(errorFromData(message.error));
      }
    }
  }

  async #answer(id: number, method: string, args: unknown): Promise<void> {
    try {
      const handler = this.#handlers[method];
      if (handler === undefined) throw new SpoorError("Internal", `no method ${method}`);
      const value = await handler(args as never);
      if (value instanceof Transferred) {
        const answer: Message = { kind: "answer", id, value: value.value };
        this.#port.postMessage(answer, [...value.transfer]);
      } else this.#port.postMessage({ kind: "answer", id, value } satisfies Message);
    } catch (error) {
      const failure: Message = { kind: "failure", id, error: errorToData(error) };
      this.#port.postMessage(failure);
    }
  }
}

function canceled(method: string): SpoorError {
  return new SpoorError("Canceled", `call of ${method} was canceled`);
}
