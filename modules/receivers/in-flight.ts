/**
 * What all requests together may hold: a number of requests and of body bytes. Beyond it a client
 * is told to retry (LimitExceeded), before its body is read where that is known.
 */
import { SpoorError } from "#pkg/errors/errors.ts";

/** Within this time some requests in flight will have been answered. */
const retryAfterMs = 1000;

export class InFlight {
  /** Requests and bytes held now. */
  requests = 0;
  bytes = 0;
  #requestsMax: number;
  #bytesMax: number;
  #waiters: (() => void)[] = [];

  constructor(requestsMax: number, bytesMax: number) {
    this.#requestsMax = requestsMax;
    this.#bytesMax = bytesMax;
  }

  /** Admits a request. Throws LimitExceeded. The lease must be released. */
  admit(): Lease {
    if (this.requests >= this.#requestsMax) {
      throw new SpoorError("LimitExceeded", `over ${this.#requestsMax} requests in flight`, {
        reason: "requests_in_flight",
        retryAfterMs,
      });
    }
    this.requests++;
    return new Lease(this);
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
  #bytes = 0;
  #isReleased = false;

  constructor(owner: InFlight) {
    this.#owner = owner;
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
    this.#owner.giveBack(1, this.#bytes);
  }
}
