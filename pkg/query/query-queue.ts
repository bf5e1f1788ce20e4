/**
 * Admits a limited number of queries at a time, over all tenants and per tenant. The others wait in
 * one queue per tenant. The queues are scheduled by the time that their queries took, so a tenant
 * with many or heavy queries delays only itself.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { TenantLimits } from "#pkg/limits/limits.ts";
import { FairQueue } from "#pkg/threads/threads.ts";

export interface QueryQueueOptions {
  /** Queries that run at a time. */
  runningMax: number;
  /** Queries that run or wait; more are rejected. */
  queriesMax: number;
  limits: TenantLimits;
  /** Queries of one tenant at a time, unless the tenant's own limit is set. */
  tenantRunningMax: number;
  /** A monotonic clock, milliseconds. */
  nowMs: () => number;
}

/** Delay advised to refused clients: some queries should have ended by then. */
const retryAfterMs = 1000;

export class QueryQueue {
  readonly #options: QueryQueueOptions;
  readonly #queue: FairQueue<() => void>;

  constructor(options: QueryQueueOptions) {
    this.#options = options;
    this.#queue = new FairQueue(options.nowMs);
  }

  get running(): number {
    return this.#queue.running;
  }

  get waiting(): number {
    return this.#queue.waiting;
  }

  /**
   * Waits for a free slot, then runs `work`. Throws LimitExceeded if too many queries wait already,
   * and the abort reason if `signal` aborts while waiting.
   */
  async run<T>(tenant: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#enter(tenant, signal);
    try {
      return await work();
    } finally {
      this.#leave(tenant);
    }
  }

  async #enter(tenant: string, signal: AbortSignal): Promise<void> {
    const { queriesMax, limits } = this.#options;
    const queue = this.#queue;
    if (queue.running + queue.waiting >= queriesMax) {
      const message = `${queriesMax} queries are in flight already: retry later`;
      throw new SpoorError("LimitExceeded", message, { reason: "queries_max", retryAfterMs });
    }
    const waiting = queue.waitingOf(tenant);
    if (waiting === 0 && this.#mayStart(tenant, queue.runningOf(tenant))) {
      queue.start(tenant);
      return;
    }
    const { queriesQueuedMax } = limits.of(tenant);
    if (queriesQueuedMax > 0 && waiting >= queriesQueuedMax) {
      const message = `${queriesQueuedMax} queries of tenant ${tenant} wait already: retry later`;
      throw new SpoorError("LimitExceeded", message, { reason: "queries_queued", retryAfterMs });
    }
    await this.#wait(tenant, signal);
  }

  async #wait(tenant: string, signal: AbortSignal): Promise<void> {
    const turn = Promise.withResolvers<void>();
    const onAbort = (): void => {
      // A query that was admitted already handles the abort itself.
      if (this.#queue.delete(tenant, turn.resolve)) turn.reject(signal.reason as Error);
    };
    if (signal.aborted) throw signal.reason as Error;
    this.#queue.add(tenant, turn.resolve);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await turn.promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #leave(tenant: string): void {
    this.#queue.end(tenant);
    for (;;) {
      const turn = this.#queue.next((one, running) => this.#mayStart(one, running));
      if (turn === undefined) return;
      turn.item();
    }
  }

  #mayStart(tenant: string, running: number): boolean {
    const { runningMax, tenantRunningMax, limits } = this.#options;
    const own = limits.of(tenant).queriesMax;
    return this.#queue.running < runningMax && running < (own === 0 ? tenantRunningMax : own);
  }
}
