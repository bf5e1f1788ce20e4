/**
 * Bounds the requests in flight and their body bytes. A request beyond the limit is refused with
 * LimitExceeded and a retry delay, if possible before its body is read.
 */
import { SpoorError } from "#pkg/errors/errors.ts";

/** One connection's share of the requests in flight. */
export interface Connection {
  /** Admitted requests of the connection. */
  requests: number;
}

/** Retry delay: within this time some requests in flight are usually answered. */
const retryAfterMs = 1000;

export class InFlight {
  /** Requests and bytes held now. */
  requests = 0;
  bytes = 0;
  #requestsMax: number;
  #perConnectionMax: number;
  #bytesMax: number;
  #waiters: (() => void)[] = [];

  /** @param perConnectionMax requests of one connection; `requestsMax` unless given. */
  constructor(requestsMax: number, bytesMax: number, perConnectionMax: number = requestsMax) {
    this.#requestsMax = requestsMax;
    this.#perConnectionMax = perConnectionMax;
    this.#bytesMax = bytesMax;
  }

  /**
   * Admits a request. Call it when the first body bytes arrive: clients that open requests without
   * sending must not block others. Throws LimitExceeded. The caller must release the lease.
   */
  admit(connection: Connection = { requests: 0 }): Lease {
    if (connection.requests >= this.#perConnectionMax) {
      const message = `over ${this.#perConnectionMax} requests in flight on one connection`;
      throw new SpoorError("LimitExceeded", message, {
        reason: "connection_requests_in_flight",
        retryAfterMs,
      });
    }
    if (this.requests >= this.#requestsMax) {
      throw new SpoorError("LimitExceeded", `over ${this.#requestsMax} requests in flight`, {
        reason: "requests_in_flight",
        retryAfterMs,
      });
    }
    this.requests++;
    connection.requests++;
    return new Lease(this, connection);
  }

  /** Counts bytes. Throws LimitExceeded without counting any of them. */
  take(bytes: number): void {
    if (this.bytes + bytes > this.#bytesMax) {
      throw new SpoorError("LimitExceeded", `over ${this.#bytesMax} bytes of requests in flight`, {
        reason: "bytes_in_flight",
        retryAfterMs,
      });
    }
    this.bytes += bytes;
  }

  giveBack(requests: number, bytes: number): void {
    this.requests -= requests;
    this.bytes -= bytes;
    if (this.requests > 0) return;
    for (const wake of this.#waiters.splice(0)) wake();
  }

  /** Resolves when no request is in flight. */
  async idle(): Promise<void> {
    if (this.requests === 0) return;
    await new Promise<void>((resolve) => {
      this.#waiters.push(resolve);
    });
  }
}

/** One request's share of the limits. */
export class Lease {
  #owner: InFlight;
  #connection: Connection;
  #bytes = 0;
  #isReleased = false;

  constructor(owner: InFlight, connection: Connection) {
    this.#owner = owner;
    this.#connection = connection;
  }

  /** Sets the total bytes of the request. Throws LimitExceeded without a change. */
  resize(bytes: number): void {
    if (this.#isReleased) return;
    if (bytes > this.#bytes) this.#owner.take(bytes - this.#bytes);
    else this.#owner.giveBack(0, this.#bytes - bytes);
    this.#bytes = bytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#connection.requests--;
    this.#owner.giveBack(1, this.#bytes);
  }
}

/** Admits a request at its first body bytes, and keeps its lease. */
export class Admission {
  readonly #owner: InFlight;
  readonly #connection: Connection;
  #lease: Lease | undefined;

  constructor(owner: InFlight, connection: Connection = { requests: 0 }) {
    this.#owner = owner;
    this.#connection = connection;
  }

  /** Returns the request's lease; the first call admits it. Throws LimitExceeded. */
  lease(): Lease {
    this.#lease ??= this.#owner.admit(this.#connection);
    return this.#lease;
  }

  /** Releases the lease, if there is one. */
  release(): void {
    this.#lease?.release();
  }
}
