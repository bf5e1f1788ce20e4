/** Simulated clients: they send spans and query them. */
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { Dice } from "./dice.ts";
import type { SimulatedProcess } from "./life.ts";
import { type Model, type SentRequest, tenants } from "./model.ts";
import { askRequest, askTags, askTrace, type Outcome, type Question } from "./questions.ts";
import type { Settings } from "./settings.ts";
import type { Supervisor } from "./supervisor.ts";
import type { Trace } from "./trace.ts";
import type { VirtualTime } from "./virtual-time.ts";
import type { Weather } from "./weather.ts";

export interface ClientsOptions {
  model: Model;
  supervisor: Supervisor;
  time: VirtualTime;
  weather: Weather;
  dice: Dice;
  settings: Settings;
  trace: Trace;
  onProblem: (problem: string) => void;
}

const minute = 60_000;
/** No retry after this time: the log recognises retries for 10 minutes only. */
const retriesEndMs: number = 8 * minute;
const clientTimeoutMs = 30_000;
/** Probability that an acknowledgement is lost, so that the client retries stored spans. */
const acknowledgementLostChance = 0.1;
/** Error codes that a client may get during faults. */
const retryable: ReadonlySet<string> = new Set(["Unavailable", "LimitExceeded", "Timeout"]);

export class Clients {
  /** Number of query results by query and kind. */
  readonly outcomes: Map<string, number> = new Map();
  pushes = 0;
  retries = 0;
  /** Number of refused requests by reason. */
  readonly refused: Map<string, number> = new Map();
  readonly #options: ClientsOptions;
  #isOver = false;

  constructor(options: ClientsOptions) {
    this.#options = options;
    for (const tenant of tenants) this.#sendBursts(tenant);
    this.#queryLater();
  }

  /** Ends new requests; pending retries are still sent. */
  stop(): void {
    this.#isOver = true;
  }

  /** Queries around a commit, when a query may miss a span or count it twice. */
  queryAroundCommit(): void {
    const { time, dice } = this.#options;
    if (this.#isOver || dice.chance(0.5)) return;
    time.after(dice.between(0, 40), () => {
      const { current } = this.#options.supervisor;
      if (current !== undefined) void this.#ask(current);
    });
  }

  /** Sends a burst of requests after a pause, and repeats. */
  #sendBursts(tenant: string): void {
    const { time, dice } = this.#options;
    const isRare = tenant === "rare";
    const pauseMs = dice.magnitude(isRare ? 30 * minute : minute, 90 * minute);
    const paceMs = dice.magnitude(200, 20_000);
    let left = isRare ? dice.between(1, 3) : dice.magnitude(3, 60);
    const next = (): void => {
      if (this.#isOver) return;
      // Sometimes several clients send at the same time.
      for (let lanes = dice.chance(0.2) ? 4 : 1; lanes > 0 && left > 0; lanes--, left--) {
        this.#send(this.#options.model.makeRequest(tenant, time.nowMs));
      }
      if (left > 0) time.after(dice.between(0, paceMs * 2), next);
      else this.#sendBursts(tenant);
    };
    time.after(pauseMs, next);
  }

  #send(request: SentRequest): void {
    const instance = this.#options.supervisor.current;
    if (instance === undefined) this.#retryLater(request);
    else void this.#push(instance, request);
  }

  async #push(instance: SimulatedProcess, request: SentRequest): Promise<void> {
    const { time, trace, dice, onProblem } = this.#options;
    const { name, tenant, body, spans } = request;
    const abort = new AbortController();
    this.pushes++;
    const timeout = time.after(clientTimeoutMs, () => {
      abort.abort(new SpoorError("Canceled", "the client has gone", { reason: "client_gone" }));
      this.#retryLater(request);
    });
    try {
      const push = { tenant, body: body.slice(), protocol: "otlp_http" };
      const { signal } = abort;
      const result = await instance.modules!.distributor.push({ ...push, signal });
      if (instance.gate.isDead || timeout.run === undefined || signal.aborted) return;
      timeout.run = undefined;
      if (result.acceptedSpans !== spans.length) {
        onProblem(`${name}: ${result.acceptedSpans} of ${spans.length} spans were accepted`);
      }
      request.acknowledgedMs = Math.min(request.acknowledgedMs, time.nowMs);
      const spanIds = spans.map(({ spanId }) => spanId.replace(/^0+/, "")).join();
      trace.add(time.nowMs, `${name} of ${tenant}: spans ${spanIds} acknowledged`);
      if (dice.chance(acknowledgementLostChance)) this.#retryLater(request, retriesEndMs);
    } catch (thrown) {
      if (instance.gate.isDead || abort.signal.aborted) return;
      timeout.run = undefined;
      const { code, reason, message } = toSpoorError(thrown);
      this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1);
      trace.add(time.nowMs, `${name} of ${tenant}: ${reason}`);
      if (!retryable.has(code)) onProblem(`${name}: refused with ${code}: ${message}`);
      this.#retryLater(request);
    }
  }

  /** Schedules a retry of the same bytes, most of the time. */
  #retryLater(request: SentRequest, waitMaxMs: number = 90_000): void {
    const { time, dice } = this.#options;
    const waitMs = dice.magnitude(200, waitMaxMs);
    const isTooLate = time.nowMs + waitMs > request.firstSentMs + retriesEndMs;
    if (isTooLate || dice.chance(0.2)) return;
    time.after(waitMs, () => {
      this.retries++;
      this.#send(request);
    });
  }

  #queryLater(): void {
    const { time, dice } = this.#options;
    time.after(dice.magnitude(1000, 10 * minute), () => {
      if (this.#isOver) return;
      const { current } = this.#options.supervisor;
      if (current !== undefined) {
        for (let left = dice.between(1, 3); left > 0; left--) void this.#ask(current);
      }
      this.#queryLater();
    });
  }

  async #ask(instance: SimulatedProcess): Promise<void> {
    const { time, weather, trace, onProblem, dice, settings } = this.#options;
    const { nowMs } = time;
    // Partitions poll the log, and a busy one may lag by several reads.
    const acknowledgedBeforeMs = nowMs - settings.pollMs * 10;
    const question = { frontend: instance.modules!.frontend, acknowledgedBeforeMs };
    const wasCalm = weather.isCalm(nowMs);
    const what = dice.pick(["trace", "trace", "search", "tags"]);
    const { kind, why, problems } = await this.#question(what, question);
    if (instance.gate.isDead) return;
    const isCalm = wasCalm && weather.isCalm(time.nowMs);
    if (isCalm && (kind === "partial" || kind.startsWith("error"))) {
      problems.push(`${what}: result is ${kind} without a fault: ${why}`);
    }
    const tag = `${what} ${kind}`;
    this.outcomes.set(tag, (this.outcomes.get(tag) ?? 0) + 1);
    trace.add(time.nowMs, tag);
    for (const problem of problems) onProblem(problem);
  }

  async #question(what: string, question: Question): Promise<Outcome> {
    const { model, dice, time } = this.#options;
    const { requests } = model;
    if (requests.length === 0) return { kind: "nothing", why: "", problems: [] };
    // Recent requests are queried most.
    const back = dice.magnitude(1, requests.length);
    const request = requests[requests.length - back];
    if (what === "search") return await askRequest(question, request);
    const { tenant, spans } = request;
    if (what === "trace") {
      return await askTrace(question, model.traces.get(dice.pick(spans).traceId)!);
    }
    const end = Math.floor(time.nowMs / 1000);
    const start = end - dice.magnitude(60, 6 * 3600);
    return await askTags(question, model, { tenant, start, end });
  }
}
