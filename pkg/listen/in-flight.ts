/**
 * What all requests together may hold: a number of requests and of body bytes. Beyond it a client
 * is told to retry (LimitExceeded), before its body is read where that is known.
 */
import { SpoorError } from "#pkg/errors/errors.ts";

/** A connection's part of the requests in flight. */
export interface Connection {
  /** Requests of it that are admitted now. */
  requests: number;
}

/** Within this time some requests in flight will have been answered. */
const retryAfterMs = 1000;

export class InFlight {
  /** Requests and bytes held now. */
  requests = 0;
  bytes = 0;
  #requestsMax: number;
  #perConnectionMax: number;
  #bytesMax: number;
  #waiters: (() => void)[] = [];

  /** `perConnectionMax`: requests of one connection; as many as of all unless given. */
  constructor(requestsMax: number, bytesMax: number, perConnectionMax: number = requestsMax) {
    this.#requestsMax = requestsMax;
    this.#perConnectionMax = perConnectionMax;
    this.#bytesMax = bytesMax;
  }

  /**
   * Admits a request, which should have begun to send its body: clients that only open requests
   * must not keep others out. Throws LimitExceeded. The lease must be released.
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

  /** Counts bytes. Throws LimitExceeded, and then counts none of them. */
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

/** The part of one request. */
export class Lease {
  #owner: InFlight;
  #connection: Connection;
  #bytes = 0;
  #isReleased = false;

  constructor(owner: InFlight, connection: Connection) {
    this.#owner = owner;
    this.#connection = connection;
  }

  /** Makes the request hold `bytes` in all. Throws LimitExceeded and changes nothing. */
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

/** A request before and after its first bytes: it is admitted when they come. */
export class Admission {
  readonly #owner: InFlight;
  readonly #connection: Connection;
  #lease: Lease | undefined;

  constructor(owner: InFlight, connection: Connection = { requests: 0 }) {
    this.#owner = owner;
    this.#connection = connection;
  }

  /** The request's lease. Throws LimitExceeded if it is not admitted. */
  lease(): Lease {
    this.#lease ??= this.#owner.admit(this.#connection);
    return this.#lease;
  }

  /** Releases the lease, if there is one. */
  release(): void {
    this.#lease?.release();
  }
}
