/**
 * Admits queries: a number at a time over all tenants and per tenant. The others wait, each tenant
 * in a line of its own, and the lines take turns: a tenant with many queries delays itself only.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { TenantLimits } from "#pkg/limits/limits.ts";

export interface QueryQueueOptions {
  /** Queries that run at a time. */
  runningMax: number;
  /** Queries that run or wait; more are refused. */
  queriesMax: number;
  limits: TenantLimits;
}

interface Line {
  running: number;
  waiting: (() => void)[];
}

/** Some queries will have ended by then. */
const retryAfterMs = 1000;

export class QueryQueue {
  readonly #options: QueryQueueOptions;
  /** Tenants with queries; whose turn is next comes first. */
  readonly #lines = new Map<string, Line>();
  #running = 0;
  #waiting = 0;

  constructor(options: QueryQueueOptions) {
    this.#options = options;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Runs `work` when it is its turn. LimitExceeded if too many wait already; what `signal` aborts
   * with if it does so first.
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
    if (this.#running + this.#waiting >= queriesMax) {
      const message = `${queriesMax} queries are under way already`;
      throw new SpoorError("LimitExceeded", message, { reason: "queries_max", retryAfterMs });
    }
    const line = this.#lineOf(tenant);
    if (line.waiting.length === 0 && this.#mayStart(tenant, line)) {
      this.#start(line);
      return;
    }
    const { queriesQueuedMax } = limits.of(tenant);
    if (queriesQueuedMax > 0 && line.waiting.length >= queriesQueuedMax) {
      const message = `${queriesQueuedMax} queries of tenant ${tenant} wait already`;
      throw new SpoorError("LimitExceeded", message, { reason: "queries_queued", retryAfterMs });
    }
    await this.#wait(tenant, line, signal);
  }

  async #wait(tenant: string, line: Line, signal: AbortSignal): Promise<void> {
    const turn = Promise.withResolvers<void>();
    const onAbort = (): void => {
      const at = line.waiting.indexOf(turn.resolve);
      // The turn came first: the query sees its signal itself.
      if (at < 0) return;
      line.waiting.splice(at, 1);
      this.#waiting--;
      this.#forgetIfIdle(tenant, line);
      turn.reject(signal.reason as Error);
    };
    if (signal.aborted) throw signal.reason as Error;
    line.waiting.push(turn.resolve);
    this.#waiting++;
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await turn.promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #leave(tenant: string): void {
    const line = this.#lineOf(tenant);
    line.running--;
    this.#running--;
    this.#forgetIfIdle(tenant, line);
    this.#startWaiting();
  }

  /** One query of each line in turn, as long as there is room. */
  #startWaiting(): void {
    for (;;) {
      const next = [...this.#lines].find(
        ([tenant, line]) => line.waiting.length > 0 && this.#mayStart(tenant, line),
      );
      if (next === undefined) return;
      const [tenant, line] = next;
      this.#lines.delete(tenant);
      this.#lines.set(tenant, line);
      const wake = line.waiting.shift()!;
      this.#waiting--;
      this.#start(line);
      wake();
    }
  }

  #start(line: Line): void {
    line.running++;
    this.#running++;
  }

  #mayStart(tenant: string, line: Line): boolean {
    const { runningMax, limits } = this.#options;
    const { queriesMax } = limits.of(tenant);
    return this.#running < runningMax && (queriesMax === 0 || line.running < queriesMax);
  }

  #lineOf(tenant: string): Line {
    let line = this.#lines.get(tenant);
    if (line === undefined) {
      line = { running: 0, waiting: [] };
      this.#lines.set(tenant, line);
    }
    return line;
  }

  #forgetIfIdle(tenant: string, line: Line): void {
    if (line.running === 0 && line.waiting.length === 0) this.#lines.delete(tenant);
  }
}
