/**
 * Writes known traces and checks them at growing ages: by id, attribute by attribute, and by
 * search. It keeps only number and time of a trace; the content is generated again.
 */
import type { Clock } from "#pkg/clock/clock.ts";
import { formatDuration } from "#pkg/config/duration.ts";
import { type KnownTrace, makeKnownTrace } from "#pkg/loadgen/loadgen.ts";
import type { Sender } from "#cmd/spoor/send/sender.ts";
import {
  type CheckFailure,
  type Checker,
  type CheckKind,
  checkSearch,
  checkTrace,
} from "./checks.ts";
import type { VerifyMetrics } from "./metrics.ts";

export interface VerifierOptions {
  seed: number;
  sender: Sender;
  checker: Checker;
  clock: Clock;
  metrics: VerifyMetrics;
  onFailure: (failure: FailedCheck) => void;
}

export interface FailedCheck extends CheckFailure {
  kind: CheckKind;
  traceId: string;
  /** The scheduled age of the trace, e.g. `10s`. */
  age: string;
}

interface Written {
  number: number;
  startMs: number;
}

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

/**
 * Ages at which a trace is checked, after its acknowledgement. At old ages only every nth trace is
 * checked, which bounds the memory.
 */
const ages: readonly { ms: number; every: number }[] = [
  { ms: 2 * second, every: 1 },
  { ms: 10 * second, every: 1 },
  { ms: minute, every: 1 },
  { ms: 5 * minute, every: 1 },
  { ms: 15 * minute, every: 2 },
  { ms: hour, every: 10 },
  { ms: 6 * hour, every: 60 },
  { ms: 24 * hour, every: 60 },
  { ms: 72 * hour, every: 60 },
  { ms: 168 * hour, every: 60 },
];

/** The second half of some traces is sent later, so that queries must join several parts. */
const lateEvery = 3;
const lateMs = 5 * second;
const pendingMax = 100_000;
/** Most traces that the last pass checks again. */
const lastPassMax = 2000;
const checksAtATime = 4;

export class Verifier {
  writtenCount = 0;
  checkCount = 0;
  failureCount = 0;
  /** Traces that were not acknowledged. */
  unwrittenCount = 0;
  readonly #options: VerifierOptions;
  /** Per age, the traces that wait for it, the oldest first. */
  readonly #waiting: { dueMs: number; trace: Written }[][] = ages.map(() => []);
  /** Traces whose second half is not sent yet. */
  readonly #late: { dueMs: number; trace: Written }[] = [];
  readonly #recent: Written[] = [];
  #lastAcknowledgedMs = Number.NEGATIVE_INFINITY;
  #next = 0;

  constructor(options: VerifierOptions) {
    this.#options = options;
  }

  get pendingCount(): number {
    return this.#waiting.reduce((sum, list) => sum + list.length, this.#late.length);
  }

  /** Writes one trace. If it is not acknowledged, only counts it. */
  async write(): Promise<void> {
    const { clock, metrics } = this.#options;
    const number = this.#next++;
    if (this.pendingCount >= pendingMax) {
      this.#unwritten("too_many_pending");
      return;
    }
    const trace = { number, startMs: Math.floor(clock.nowMs()) };
    const { requests } = this.#known(trace);
    if (!(await this.#send(requests[0]))) return;
    if (requests[1].length > 0 && number % lateEvery === 0) {
      this.#late.push({ dueMs: clock.monotonicMs() + lateMs, trace });
      return;
    }
    if (requests[1].length > 0 && !(await this.#send(requests[1]))) return;
    metrics.written.inc();
    this.#acknowledged(trace);
  }

  /** Sends second halves that are due, and runs the checks that are due. */
  async runDue(): Promise<void> {
    const { clock, metrics } = this.#options;
    while (this.#late.length > 0 && this.#late[0].dueMs <= clock.monotonicMs()) {
      const { trace } = this.#late.shift()!;
      if (!(await this.#send(this.#known(trace).requests[1]))) continue;
      metrics.written.inc();
      this.#acknowledged(trace);
    }
    const due: { trace: Written; age: string }[] = [];
    for (const [i, list] of this.#waiting.entries()) {
      while (list.length > 0 && list[0].dueMs <= clock.monotonicMs()) {
        const { trace } = list.shift()!;
        due.push({ trace, age: formatDuration(ages[i].ms) });
        this.#wait(trace, i + 1);
      }
    }
    await this.#checkAll(due);
  }

  /** Time until every trace has the age of the first check, milliseconds. */
  get settlingMs(): number {
    return Math.max(0, this.#lastAcknowledgedMs + ages[0].ms - this.#options.clock.monotonicMs());
  }

  /** Checks the newest traces again, at any age. */
  async runLast(): Promise<void> {
    await this.#checkAll(this.#recent.map((trace) => ({ trace, age: "end" })));
  }

  async #checkAll(due: readonly { trace: Written; age: string }[]): Promise<void> {
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < due.length && !this.#options.checker.signal.aborted) {
        const { trace, age } = due[next++];
        await this.#check(trace, age);
      }
    };
    await Promise.all(Array.from({ length: checksAtATime }, lane));
  }

  async #check(trace: Written, age: string): Promise<void> {
    const { checker } = this.#options;
    const known = this.#known(trace);
    await this.#timed("trace", age, known, () => checkTrace(checker, known));
    const query = known.queries[(trace.number + age.length) % known.queries.length];
    await this.#timed("search", age, known, () => checkSearch(checker, known, query));
  }

  async #timed(
    kind: CheckKind,
    age: string,
    { traceId }: KnownTrace,
    check: () => Promise<CheckFailure | undefined>,
  ): Promise<void> {
    const { metrics, onFailure } = this.#options;
    const startMs = performance.now();
    const failure = await check();
    metrics.seconds.observe({ kind }, (performance.now() - startMs) / 1000);
    metrics.checks.inc({ kind, age });
    this.checkCount++;
    if (failure === undefined) return;
    this.failureCount++;
    metrics.failures.inc({ kind, age, reason: failure.reason });
    onFailure({ ...failure, kind, traceId, age });
  }

  #known(trace: Written): KnownTrace {
    return makeKnownTrace({ seed: this.#options.seed, ...trace });
  }

  /** Sends a request, with a few retries; returns whether it was acknowledged. */
  async #send(body: Uint8Array): Promise<boolean> {
    const { sender, clock } = this.#options;
    for (let attempt = 1; ; attempt++) {
      const answer = await sender.send(body);
      if (answer.kind === "stored" && answer.rejectedSpans === 0) return true;
      const reason = answer.kind === "stored" ? "rejected_spans" : answer.reason;
      const canRetry = answer.kind === "refused" && answer.isRetryable;
      if (!canRetry || attempt === sendAttemptsMax || this.#options.checker.signal.aborted) {
        this.#unwritten(reason);
        return false;
      }
      await clock.sleep(answer.retryAfterMs ?? second);
    }
  }

  #unwritten(reason: string): void {
    this.unwrittenCount++;
    this.#options.metrics.writeFailures.inc({ reason });
  }

  #acknowledged(trace: Written): void {
    this.writtenCount++;
    this.#lastAcknowledgedMs = this.#options.clock.monotonicMs();
    this.#recent.push(trace);
    if (this.#recent.length > lastPassMax) this.#recent.shift();
    this.#wait(trace, 0);
  }

  /** Schedules the check of a trace at this age, if the age applies to this trace. */
  #wait(trace: Written, age: number): void {
    if (age >= ages.length || trace.number % ages[age].every !== 0) return;
    const waitedMs = age === 0 ? 0 : ages[age - 1].ms;
    const dueMs = this.#options.clock.monotonicMs() + ages[age].ms - waitedMs;
    this.#waiting[age].push({ dueMs, trace });
  }
}

const sendAttemptsMax = 10;
