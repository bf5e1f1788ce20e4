/**
 * What was refused lately and why: a count and some examples per tenant and reason, for people.
 * Metrics count everything; this remembers a little of it and logs it at a bounded rate.
 */
import type { Clock } from "#pkg/clock/clock.ts";
import type { SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";

export interface RefusalNote {
  tenant: string;
  reason: string;
  message: string;
  /** Who was refused, e.g. `otlp_http`, or what (`search`). */
  source: string;
  /** Address of the client, where it is known. */
  peer?: string;
  /** How many things were refused; 1 unless given. */
  count?: number;
  /** Ids that the refused thing is found by; asked for only when they will be shown. */
  examples?: () => string[];
}

export interface RefusalExample {
  atMs: number;
  message: string;
  /** Address of the client; "" if it is not known. */
  peer: string;
  ids: string[];
}

export interface RefusalEntry {
  tenant: string;
  reason: string;
  source: string;
  count: number;
  firstMs: number;
  lastMs: number;
  /** The latest ones, at most one per second. */
  examples: RefusalExample[];
}

const entriesMax = 1000;
const examplesMax = 5;
const exampleIntervalMs = 1000;
const logIntervalMs = 10_000;
const messageCharsMax = 500;
const longAgo = Number.NEGATIVE_INFINITY;

interface Kept extends RefusalEntry {
  /** By the monotonic clock, as `exampleMs`. */
  loggedMs: number;
  exampleMs: number;
  unlogged: number;
}

export class Refusals {
  readonly #clock: Clock;
  readonly #log: Log;
  /** The one that was refused longest ago comes first. */
  readonly #entries = new Map<string, Kept>();
  readonly #noted = new WeakSet<SpoorError>();

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * Notes an error on its way to a client. It passes several places; the first, which knows most
   * of it, counts.
   */
  noteError(error: SpoorError, note: Omit<RefusalNote, "reason" | "message">): void {
    if (this.#noted.has(error)) return;
    this.#noted.add(error);
    this.note({ ...note, reason: error.reason, message: error.message });
  }

  note({ tenant, reason, message, source, count = 1, peer = "", examples }: RefusalNote): void {
    const nowMs = this.#clock.nowMs();
    const key = [tenant, reason, source].join("\u0000");
    const entry = this.#entries.get(key) ?? this.#open({ tenant, reason, source }, nowMs);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    entry.count += count;
    entry.unlogged += count;
    entry.lastMs = nowMs;
    const atMs = this.#clock.monotonicMs();
    if (atMs - entry.exampleMs >= exampleIntervalMs) {
      entry.exampleMs = atMs;
      const ids = examples?.() ?? [];
      const shown = message.slice(0, messageCharsMax);
      entry.examples.unshift({ atMs: nowMs, message: shown, peer, ids });
      entry.examples.length = Math.min(entry.examples.length, examplesMax);
    }
    if (atMs - entry.loggedMs < logIntervalMs) return;
    const { ids } = entry.examples[0];
    const error = message.slice(0, messageCharsMax);
    const fields = { tenant, reason, source, peer, count: entry.unlogged, error, ids };
    this.#log.warn(fields, "refused");
    entry.loggedMs = atMs;
    entry.unlogged = 0;
  }

  /** The latest first. */
  list(): RefusalEntry[] {
    return [...this.#entries.values()].reverse();
  }

  #open(facts: Pick<RefusalEntry, "tenant" | "reason" | "source">, nowMs: number): Kept {
    if (this.#entries.size >= entriesMax) {
      const [oldest] = this.#entries.keys();
      this.#entries.delete(oldest);
    }
    const times = { firstMs: nowMs, lastMs: nowMs, loggedMs: longAgo, exampleMs: longAgo };
    return { ...facts, ...times, count: 0, unlogged: 0, examples: [] };
  }
}
