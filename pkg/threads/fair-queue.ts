/**
 * Work of tenants that waits for a place. Tenants take turns by the time that their work really
 * took: next is a tenant whose work took least, so that one with heavy work delays itself only. A
 * tenant that comes back after a while has saved nothing up.
 */

interface Line<T> {
  readonly waiting: Set<T>;
  running: number;
  /** Time that its work took, all pieces added, milliseconds; up to `sinceMs`. */
  usedMs: number;
  sinceMs: number;
}

export interface Turn<T> {
  tenant: string;
  item: T;
}

/** Whether a tenant may start one more, with so many of its own running. */
export type MayStart = (tenant: string, running: number) => boolean;

/** Tenants without work whose time is remembered. */
const idleMax = 1000;

export class FairQueue<T> {
  /** Tenants with work, and those that used more than others; whose turn came last is last. */
  readonly #lines = new Map<string, Line<T>>();
  readonly #nowMs: () => number;
  #waiting = 0;
  #running = 0;
  #idle = 0;
  /** The time of the tenant whose turn came last: where those begin that come now. */
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
    return this.#lines.get(tenant)?.waiting.size ?? 0;
  }

  runningOf(tenant: string): number {
    return this.#lines.get(tenant)?.running ?? 0;
  }

  /** Puts an item at the end of its tenant's line. */
  add(tenant: string, item: T): void {
    this.#lineOf(tenant).waiting.add(item);
    this.#waiting++;
  }

  /** Takes an item out of the line; false if it does not wait there. */
  delete(tenant: string, item: T): boolean {
    const line = this.#lines.get(tenant);
    if (line === undefined || !line.waiting.delete(item)) return false;
    this.#waiting--;
    this.#rest(tenant, line);
    return true;
  }

  /** Starts the item whose turn it is, of the tenants that may; undefined if there is none. */
  next(mayStart: MayStart): Turn<T> | undefined {
    let found: [string, Line<T>] | undefined;
    for (const [tenant, line] of this.#lines) {
      if (line.waiting.size === 0 || !mayStart(tenant, line.running)) continue;
      this.#charge(line);
      if (found === undefined || line.usedMs < found[1].usedMs) found = [tenant, line];
    }
    if (found === undefined) return undefined;
    const [tenant, line] = found;
    this.#lines.delete(tenant);
    this.#lines.set(tenant, line);
    const [item] = line.waiting;
    line.waiting.delete(item);
    this.#waiting--;
    this.#begin(line);
    return { tenant, item };
  }

  /** Work of the tenant starts that did not wait. */
  start(tenant: string): void {
    this.#begin(this.#lineOf(tenant));
  }

  /** Work that was started is over. */
  end(tenant: string): void {
    const line = this.#lineOf(tenant);
    this.#charge(line);
    line.running--;
    this.#running--;
    this.#rest(tenant, line);
  }

  #begin(line: Line<T>): void {
    this.#charge(line);
    this.#turnMs = Math.max(this.#turnMs, line.usedMs);
    line.running++;
    this.#running++;
  }

  #charge(line: Line<T>): void {
    const nowMs = this.#nowMs();
    line.usedMs += line.running * Math.max(0, nowMs - line.sinceMs);
    line.sinceMs = nowMs;
  }

  #lineOf(tenant: string): Line<T> {
    let line = this.#lines.get(tenant);
    if (line === undefined) {
      const sinceMs = this.#nowMs();
      line = { waiting: new Set(), running: 0, usedMs: this.#turnMs, sinceMs };
      this.#lines.set(tenant, line);
    } else if (isIdle(line)) {
      this.#idle--;
      line.usedMs = Math.max(line.usedMs, this.#turnMs);
      line.sinceMs = this.#nowMs();
    }
    return line;
  }

  /** A tenant without work is forgotten, unless it has used more than the others. */
  #rest(tenant: string, line: Line<T>): void {
    if (!isIdle(line)) return;
    this.#idle++;
    if (line.usedMs <= this.#turnMs) this.#forget(tenant);
    if (this.#idle <= idleMax) return;
    for (const [other, one] of this.#lines) {
      if (isIdle(one)) return this.#forget(other);
    }
  }

  #forget(tenant: string): void {
    this.#lines.delete(tenant);
    this.#idle--;
  }
}

function isIdle({ waiting, running }: Line<unknown>): boolean {
  return running === 0 && waiting.size === 0;
}
