/**
 * A fair queue of work, by tenant. The next item belongs to the tenant whose work has used the
 * least time so far, so a tenant with heavy work delays only itself. A tenant that was idle starts
 * at the time of the current turn: idle time earns no credit.
 */

interface TenantQueue<T> {
  readonly waiting: Set<T>;
  running: number;
  /** Total time that its work has used up to `sinceMs`, milliseconds. */
  usedMs: number;
  sinceMs: number;
}

export interface Turn<T> {
  tenant: string;
  item: T;
}

/** Returns whether a tenant with `running` running items may start another one. */
export type MayStart = (tenant: string, running: number) => boolean;

/** Maximum tenants without work whose used time is remembered. */
const idleMax = 1000;

export class FairQueue<T> {
  /** Tenants with work, and idle ones with more used time; the most recently served last. */
  readonly #queues = new Map<string, TenantQueue<T>>();
  readonly #nowMs: () => number;
  #waiting = 0;
  #running = 0;
  #idle = 0;
  /** Used time of the tenant that was served last; new tenants start with it. */
  #turnMs = 0;

  /** @param nowMs a clock that never goes back, milliseconds. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get waiting(): number {
    return this.#waiting;
  }

  get running(): number {
    return this.#running;
  }

  waitingOf(tenant: string): number {
    return this.#queues.get(tenant)?.waiting.size ?? 0;
  }

  runningOf(tenant: string): number {
    return this.#queues.get(tenant)?.running ?? 0;
  }

  /** Appends an item to the queue of its tenant. */
  add(tenant: string, item: T): void {
    this.#queueOf(tenant).waiting.add(item);
    this.#waiting++;
  }

  /** Removes a waiting item; returns false if it is not waiting. */
  delete(tenant: string, item: T): boolean {
    const queue = this.#queues.get(tenant);
    if (queue === undefined || !queue.waiting.delete(item)) return false;
    this.#waiting--;
    this.#removeIfIdle(tenant, queue);
    return true;
  }

  /** Starts the next item of the tenants that may start one; undefined if there is none. */
  next(mayStart: MayStart): Turn<T> | undefined {
    let found: [string, TenantQueue<T>] | undefined;
    for (const [tenant, queue] of this.#queues) {
      if (queue.waiting.size === 0 || !mayStart(tenant, queue.running)) continue;
      this.#charge(queue);
      if (found === undefined || queue.usedMs < found[1].usedMs) found = [tenant, queue];
    }
    if (found === undefined) return undefined;
    const [tenant, queue] = found;
    this.#queues.delete(tenant);
    this.#queues.set(tenant, queue);
    const [item] = queue.waiting;
    queue.waiting.delete(item);
    this.#waiting--;
    this.#begin(queue);
    return { tenant, item };
  }

  /** Starts work of a tenant that did not wait in the queue. */
  start(tenant: string): void {
    this.#begin(this.#queueOf(tenant));
  }

  /** Ends work that was started. */
  end(tenant: string): void {
    const queue = this.#queueOf(tenant);
    this.#charge(queue);
    queue.running--;
    this.#running--;
    this.#removeIfIdle(tenant, queue);
  }

  #begin(queue: TenantQueue<T>): void {
    this.#charge(queue);
    this.#turnMs = Math.max(this.#turnMs, queue.usedMs);
    queue.running++;
    this.#running++;
  }

  #charge(queue: TenantQueue<T>): void {
    const nowMs = this.#nowMs();
    queue.usedMs += queue.running * Math.max(0, nowMs - queue.sinceMs);
    queue.sinceMs = nowMs;
  }

  #queueOf(tenant: string): TenantQueue<T> {
    let queue = this.#queues.get(tenant);
    if (queue === undefined) {
      const sinceMs = this.#nowMs();
      queue = { waiting: new Set(), running: 0, usedMs: this.#turnMs, sinceMs };
      this.#queues.set(tenant, queue);
    } else if (isIdle(queue)) {
      this.#idle--;
      queue.usedMs = Math.max(queue.usedMs, this.#turnMs);
      queue.sinceMs = this.#nowMs();
    }
    return queue;
  }

  /** Removes an idle tenant, unless it has used more time than the current turn. */
  #removeIfIdle(tenant: string, queue: TenantQueue<T>): void {
    if (!isIdle(queue)) return;
    this.#idle++;
    if (queue.usedMs <= this.#turnMs) this.#forget(tenant);
    if (this.#idle <= idleMax) return;
    for (const [other, one] of this.#queues) {
      if (isIdle(one)) return this.#forget(other);
    }
  }

  #forget(tenant: string): void {
    this.#queues.delete(tenant);
    this.#idle--;
  }
}

function isIdle({ waiting, running }: TenantQueue<unknown>): boolean {
  return running === 0 && waiting.size === 0;
}
