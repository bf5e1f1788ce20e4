/**
 * Virtual time: it stands still while code runs, and jumps to the next event when all code waits.
 * Code in a simulation never waits for the real world. It continues only by promises and immediates
 * of the event loop, whose order is deterministic: the same events give the same order.
 */

export interface Event {
  atMs: number;
  order: number;
  run: (() => void) | undefined;
}

/** Maximum turns of the event loop until all code must wait. */
const turnsMax = 100_000;

export class VirtualTime {
  /** The true virtual time, which schedules events. */
  nowMs: number;
  /** Error of the wall clock of the processes. */
  wallOffsetMs = 0;
  /** Number of events that were run. */
  count = 0;
  /** A heap, the next event first. */
  readonly #events: Event[] = [];
  #order = 0;

  constructor(startMs: number) {
    this.nowMs = startMs;
  }

  /** The wall clock of the processes. */
  get wallMs(): number {
    return this.nowMs + this.wallOffsetMs;
  }

  /** Schedules `run` in `delayMs`, after earlier events for the same time. */
  after(delayMs: number, run: () => void): Event {
    const atMs = this.nowMs + Math.max(0, Math.ceil(delayMs));
    const event: Event = { atMs, order: this.#order++, run };
    this.#events.push(event);
    this.#rise(this.#events.length - 1);
    return event;
  }

  /** Runs events until `isDone` (returns true) or until the time `atMs` (returns false). */
  async runUntil(atMs: number, isDone: () => boolean = () => false): Promise<boolean> {
    await rest();
    while (!isDone()) {
      const [next] = this.#events;
      if (next === undefined || next.atMs > atMs) {
        this.nowMs = Math.max(this.nowMs, atMs);
        return false;
      }
      this.#takeFirst();
      if (next.run === undefined) continue;
      this.nowMs = next.atMs;
      this.count++;
      const { run } = next;
      next.run = undefined;
      run();
      await rest();
    }
    return true;
  }

  /** Runs events until the work is done. Throws if it takes longer than `limitMs`. */
  async finish<T>(work: Promise<T>, limitMs: number, what: string): Promise<T> {
    let isDone = false;
    const settle = (): void => {
      isDone = true;
    };
    work.then(settle, settle);
    const inTime = await this.runUntil(this.nowMs + limitMs, () => isDone);
    if (!inTime) throw new Error(`${what}: not done after ${limitMs / 1000} s of virtual time`);
    return await work;
  }

  #rise(index: number): void {
    const events = this.#events;
    for (let at = index; at > 0;) {
      const parent = (at - 1) >>> 1;
      if (isBefore(events[parent], events[at])) return;
      [events[parent], events[at]] = [events[at], events[parent]];
      at = parent;
    }
  }

  #takeFirst(): void {
    const events = this.#events;
    const last = events.pop()!;
    if (events.length === 0) return;
    events[0] = last;
    for (let at = 0; ;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < events.length && isBefore(events[child], events[least])) least = child;
      }
      if (least === at) return;
      [events[least], events[at]] = [events[at], events[least]];
      at = least;
    }
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** Waits until all code waits for an event: no promise and no immediate is left to run. */
async function rest(): Promise<void> {
  for (let turn = 0; turn < turnsMax; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (!process.getActiveResourcesInfo().includes("Immediate")) return;
  }
  throw new Error(`code did not settle within ${turnsMax} turns of the event loop`);
}
