/**
 * A deterministic simulation of the whole process: a bucket in memory behind a network, a disk, a
 * clock, clients and faults. One seed determines all choices, so a run with the same seed has the
 * same events at the same times, and the same digest.
 */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { rm } from "node:fs/promises";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import { Clients } from "./clients.ts";
import { Dice } from "./dice.ts";
import { Model, tenants } from "./model.ts";
import { askRequest, askTrace } from "./questions.ts";
import { countStored, type StoredCounts } from "./stored-counts.ts";
import { chooseSettings, type Settings } from "./settings.ts";
import { type ProcessEvents, Supervisor } from "./supervisor.ts";
import { Trace } from "./trace.ts";
import { VirtualTime } from "./virtual-time.ts";
import { Weather } from "./weather.ts";

export interface SimulationOptions {
  seed: number;
  /** Virtual minutes of load and faults. */
  minutes: number;
  /** An empty real folder for the log's files; deleted at the end. */
  dir: string;
  onLine?: (line: string) => void;
}

export interface SimulationResult extends Omit<StoredCounts, "problems"> {
  seed: number;
  minutes: number;
  /** Digest of all events, in order. */
  digest: string;
  events: number;
  processEvents: ProcessEvents;
  /** Number of times that the wall clock was stepped. */
  clockSteps: number;
  requests: number;
  retries: number;
  acknowledgedSpans: number;
  /** Number of query results by kind, and of refused requests by reason. */
  outcomes: Record<string, number>;
  refused: Record<string, number>;
  logBytesMax: number;
  /** Failures; empty if the run is good. */
  problems: string[];
  /** Last events before the first problem, or of the run. */
  lastLines: string[];
}

const minute = 60_000;
const hour: number = 60 * minute;
const startMs = 1_800_000_000_000;
/** Maximum problems that are reported. */
const problemsMax = 20;
const linesShown = 60;
/** Share of all traces and requests that are queried at the end. */
const queriedShare = 0.1;

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const simulation = new Simulation(options);
  // A real thread would make the run nondeterministic, so its start is a problem.
  const onThread = (): void => simulation.note("a real thread was started");
  subscribe("worker_threads", onThread);
  try {
    await simulation.run();
    await simulation.settle();
  } finally {
    unsubscribe("worker_threads", onThread);
  }
  return await simulation.result();
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #time = new VirtualTime(startMs);
  readonly #dice: Dice;
  readonly #clockDice: Dice;
  #clockSteps = 0;
  readonly #trace: Trace;
  readonly #weather: Weather;
  readonly #model: Model;
  readonly #settings: Settings;
  readonly #store: MemoryStore;
  readonly #supervisor: Supervisor;
  readonly #clients: Clients;
  readonly #problems: string[] = [];
  #lastLines: string[] = [];
  #logBytesMax = 0;
  #isOver = false;

  constructor(options: SimulationOptions) {
    this.#options = options;
    const dice = new Dice(options.seed);
    this.#dice = dice;
    this.#trace = new Trace(options.onLine);
    this.#settings = chooseSettings(dice.fork());
    const time = this.#time;
    this.#store = new MemoryStore({
      clock: {
        nowMs: () => time.nowMs,
        monotonicMs: () => time.nowMs,
        sleep: () => Promise.resolve(),
      },
    });
    this.#weather = new Weather(dice.fork(), tenants);
    this.#model = new Model(dice.fork());
    const world = {
      dir: options.dir,
      store: this.#store,
      time,
      weather: this.#weather,
      settings: this.#settings,
      trace: this.#trace,
      onProblem: (problem: string) => this.note(problem),
    };
    // Called later than the constructor: the process commits only after clients have sent spans.
    const onCommit = (): void => this.#clients.queryAroundCommit();
    this.#supervisor = new Supervisor({ ...world, dice: dice.fork(), onCommit });
    this.#clockDice = dice.fork();
    const clientOptions = { ...world, model: this.#model, supervisor: this.#supervisor };
    this.#clients = new Clients({ ...clientOptions, dice: dice.fork() });
  }

  /** Runs the load and the faults. */
  async run(): Promise<void> {
    const { minutes } = this.#options;
    this.#changeWeather();
    this.#injectFault();
    this.#stepClock();
    this.#watchLog();
    await this.#time.runUntil(startMs + minutes * minute);
    this.#isOver = true;
  }

  /**
   * Ends the faults and checks that the process recovers without help, stores all spans, and
   * deletes all garbage.
   */
  async settle(): Promise<void> {
    this.#clients.stop();
    this.#weather.clear();
    this.#supervisor.endFaults();
    this.#time.wallOffsetMs = 0;
    this.#trace.add(this.#time.nowMs, "calm");
    const { cutAgeMs, closedHeadsMax } = this.#settings.ingester;
    // Clients retry for a while, and the machine may still sleep for two hours.
    await this.#time.runUntil(this.#time.nowMs + 10 * minute);
    const limitMs = 125 * minute + cutAgeMs * (closedHeadsMax + 2) + 30 * minute;
    const isDrained = (): boolean =>
      this.#supervisor.current?.modules?.spanLog.stats().records === 0;
    const inTime = await this.#time.runUntil(this.#time.nowMs + limitMs, isDrained);
    if (!inTime) {
      const records = this.#supervisor.current?.modules?.spanLog.stats().records;
      this.note(`the log still has ${records ?? "?"} records, which are not stored in time`);
      return;
    }
    await this.#queryMuch();
    const { orphanAgeMs, deleteGraceMs, intervalMs } = this.#settings.compactor;
    // After failures the compactor pauses for up to 8 intervals, and then needs several cycles.
    const cleanMs = orphanAgeMs + deleteGraceMs + intervalMs * 20;
    await this.#time.runUntil(this.#time.nowMs + cleanMs);
  }

  async result(): Promise<SimulationResult> {
    const { seed, minutes, dir } = this.#options;
    const digest = this.#trace.digest();
    const { problems, ...stored } = await countStored(this.#store, this.#model);
    for (const problem of problems) this.note(problem);
    await rm(dir, { recursive: true, force: true });
    const { outcomes, refused, retries } = this.#clients;
    return {
      seed,
      minutes,
      digest,
      events: this.#time.count,
      processEvents: this.#supervisor.processEvents,
      clockSteps: this.#clockSteps,
      requests: this.#model.requests.length,
      retries,
      acknowledgedSpans: this.#model.acknowledgedSpans,
      ...stored,
      outcomes: Object.fromEntries(outcomes),
      refused: Object.fromEntries(refused),
      logBytesMax: this.#logBytesMax,
      problems: this.#problems,
      lastLines: this.#lastLines.length > 0 ? this.#lastLines : this.#trace.last(linesShown),
    };
  }

  /** Records a problem. */
  note(problem: string): void {
    if (this.#problems.length === 0) this.#lastLines = this.#trace.last(linesShown);
    if (this.#problems.length >= problemsMax) return;
    this.#trace.add(this.#time.nowMs, `PROBLEM ${problem}`);
    this.#problems.push(`at ${this.#time.nowMs - startMs} ms: ${problem}`);
  }

  #changeWeather(): void {
    const [time, dice, weather] = [this.#time, this.#dice, this.#weather];
    time.after(dice.magnitude(2 * minute, 60 * minute), () => {
      if (this.#isOver) return;
      weather.note(time.nowMs);
      if (dice.chance(0.7)) weather.changeStore();
      else weather.changeDisk();
      this.#trace.add(time.nowMs, `weather: store ${weather.store}, disk ${weather.disk}`);
      const isLong = dice.chance(0.1);
      time.after(dice.magnitude(5000, isLong ? 5 * hour : 15 * minute), () => {
        weather.note(time.nowMs);
        weather.clear();
        this.#trace.add(time.nowMs, "weather: fine");
        this.#changeWeather();
      });
    });
  }

  #injectFault(): void {
    const [time, dice] = [this.#time, this.#dice];
    time.after(dice.magnitude(minute, 60 * minute), () => {
      if (this.#isOver) return;
      this.#supervisor.injectFault();
      this.#injectFault();
    });
  }

  /** Steps the wall clock of the machine, forward or back, and corrects it after a while. */
  #stepClock(): void {
    const [time, dice] = [this.#time, this.#clockDice];
    time.after(dice.magnitude(10 * minute, 2 * hour), () => {
      if (this.#isOver) return;
      const stepMs = dice.magnitude(1000, 6 * hour);
      time.wallOffsetMs = dice.chance(0.5) ? stepMs : -stepMs;
      this.#clockSteps++;
      this.#trace.add(time.nowMs, `the wall clock is off by ${time.wallOffsetMs} ms`);
      time.after(dice.magnitude(1000, hour), () => {
        time.wallOffsetMs = 0;
        this.#trace.add(time.nowMs, "the wall clock is right");
        this.#stepClock();
      });
    });
  }

  /** Checks that the log stays within its limit plus one segment per partition. */
  #watchLog(): void {
    const { bytesMax, segmentBytesMax, partitionCount } = this.#settings.log;
    const limit = bytesMax + segmentBytesMax * partitionCount;
    this.#time.after(minute, () => {
      const bytes = this.#supervisor.current?.modules?.spanLog.stats().bytes ?? 0;
      this.#logBytesMax = Math.max(this.#logBytesMax, bytes);
      if (bytes > limit) this.note(`the log has ${bytes} bytes, at most ${limit} are allowed`);
      if (!this.#isOver) this.#watchLog();
    });
  }

  /** Queries many traces by id, and many requests by a search. */
  async #queryMuch(): Promise<void> {
    const { current } = this.#supervisor;
    const question = {
      frontend: current!.modules!.frontend,
      acknowledgedBeforeMs: Number.POSITIVE_INFINITY,
    };
    const ask = async (): Promise<void> => {
      const dice = this.#dice.fork();
      const traces = [...this.#model.traces.values()].filter(() => dice.chance(queriedShare));
      const requests = this.#model.requests.filter(() => dice.chance(queriedShare));
      const queries = [
        ...traces.map((trace) => () => askTrace(question, trace)),
        ...requests.map((request) => () => askRequest(question, request)),
      ];
      for (const one of queries) {
        const { kind, why, problems } = await one();
        for (const problem of problems) this.note(problem);
        if (kind !== "full" && kind !== "missing")
          this.note(`at the end: result is ${kind}: ${why}`);
      }
    };
    await this.#time.finish(ask(), 100 * hour, "the queries at the end");
  }
}
