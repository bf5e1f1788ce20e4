/**
 * Remembers recent refusals for operators: a count and some examples per tenant, reason and source.
 * Metrics count all refusals; this keeps a bounded number and logs them at a bounded rate.
 */
import type { Clock } from "#pkg/clock/clock.ts";
import type { SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";

export interface RefusalNote {
  tenant: string;
  reason: string;
  message: string;
  /** The receiver (`otlp_http`) or the operation (`search`) that refused. */
  source: string;
  /** Address of the client, if known. */
  peer?: string;
  /** Number of refused items; 1 by default. */
  count?: number;
  /** Returns ids of refused items; called only if they will be shown. */
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
  /** The latest examples, at most one per second. */
  examples: RefusalExample[];
}

const entriesMax = 1000;
const examplesMax = 5;
const exampleIntervalMs = 1000;
const logIntervalMs = 10_000;
const messageCharsMax = 500;
const longAgo = Number.NEGATIVE_INFINITY;

interface TrackedEntry extends RefusalEntry {
  /** Time of the last log line, by the monotonic clock like `exampleMs`. */
  loggedMs: number;
  exampleMs: number;
  unlogged: number;
}

export class Refusals {
  readonly #clock: Clock;
  readonly #log: Log;
  /** The least recently refused first. */
  readonly #entries = new Map<string, TrackedEntry>();
  readonly #noted = new WeakSet<SpoorError>();

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * Notes an error that goes to a client. Several layers may note the same error; only the first
   * call counts, because that layer knows the details.
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

  /** Returns the entries, the latest first. */
  list(): RefusalEntry[] {
    return [...this.#entries.values()].reverse();
  }

  #open(facts: Pick<RefusalEntry, "tenant" | "reason" | "source">, nowMs: number): TrackedEntry {
    if (this.#entries.size >= entriesMax) {
      const [oldest] = this.#entries.keys();
      this.#entries.delete(oldest);
    }
    const times = { firstMs: nowMs, lastMs: nowMs, loggedMs: longAgo, exampleMs: longAgo };
    return { ...facts, ...times, count: 0, unlogged: 0, examples: [] };
  }
}
