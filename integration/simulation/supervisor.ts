/**
 * Keeps one process running, like an init system: restarts it whenever it ends. It also injects the
 * faults of the process: kills at any step, power cuts, pauses, and two processes at once.
 */
import { join } from "node:path";
import type { SpoorError } from "#pkg/errors/errors.ts";
import { checksumMismatch } from "#pkg/errors/reasons.ts";
import type { LogFields } from "#pkg/log/log.ts";
import type { RequestKind } from "#pkg/objstore/ledger.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import type { Dice } from "./dice.ts";
import { Disk } from "./disk.ts";
import { SimulatedProcess, type SimulatedProcessOptions } from "./life.ts";
import type { Moment } from "./network.ts";
import type { Settings } from "./settings.ts";
import type { Trace } from "./trace.ts";
import type { VirtualTime } from "./virtual-time.ts";
import type { Weather } from "./weather.ts";

export interface SupervisorOptions {
  /** Real folder for the disks. */
  dir: string;
  store: ObjectStore;
  time: VirtualTime;
  weather: Weather;
  dice: Dice;
  settings: Settings;
  trace: Trace;
  onProblem: (problem: string) => void;
  /** Called before each commit of the process. */
  onCommit: () => void;
}

/** A pending kill: the process dies when it reaches this step for the n-th time. */
interface ArmedKill {
  what: string;
  moment: Moment;
  left: number;
}

const steps: readonly string[] = `put put putIfAbsent putIfAbsent get list deleteMany
  create writev writev datasync datasync rename syncDir unlink`.split(/\s+/);

const minute = 60_000;
/** Number of events of each kind. */
export interface ProcessEvents {
  starts: number;
  kills: number;
  powerCuts: number;
  pauses: number;
  takeOvers: number;
  stops: number;
  threadKills: number;
  /** Processes that detected another writer and exited. */
  fatal: number;
  failedStarts: number;
}

export class Supervisor {
  readonly processEvents: ProcessEvents = {
    starts: 0,
    kills: 0,
    powerCuts: 0,
    pauses: 0,
    takeOvers: 0,
    stops: 0,
    threadKills: 0,
    fatal: 0,
    failedStarts: 0,
  };
  readonly #options: SupervisorOptions;
  /** The process that clients connect to. */
  #current: SimulatedProcess | undefined;
  /** A process that was replaced and does not know it. */
  #zombie: SimulatedProcess | undefined;
  #armed: ArmedKill | undefined;
  #isPaused = false;
  #isCalm = false;
  /** Process number -> time of its last commit. */
  readonly #committedMs = new Map<number, number>();

  constructor(options: SupervisorOptions) {
    this.#options = options;
    const { dir, dice } = options;
    const disk = new Disk({ ...options, dice: dice.fork(), onMoment: this.#onMoment });
    this.#start(disk, join(dir, "log-0"));
  }

  /** The running process, if it has started and is not paused. */
  get current(): SimulatedProcess | undefined {
    return this.#isPaused || this.#current?.modules === undefined ? undefined : this.#current;
  }

  /** Injects a random fault into the process. */
  injectFault(): void {
    const { dice, weather, time } = this.#options;
    if (this.#current === undefined || this.#isPaused) return;
    weather.note(time.nowMs);
    const fate = dice.below(12);
    if (fate < 5) this.#arm();
    else if (fate < 7) this.#kill(this.#current, dice.chance(0.5));
    else if (fate < 9) this.#killThread();
    else if (fate < 10) this.#pause();
    else if (fate < 11) this.#takeOver();
    else void this.#stop(this.#current);
  }

  /** Ends the faults: from now on one process runs, or starts. */
  endFaults(): void {
    this.#isCalm = true;
    this.#armed = undefined;
    if (this.#zombie !== undefined) this.#end(this.#zombie);
    this.#zombie = undefined;
  }

  #start(disk: Disk, logDir: string): void {
    const { store, time, weather, dice, settings } = this.#options;
    const number = this.processEvents.starts++;
    this.#note(`process ${number} starts`);
    const instance: SimulatedProcess = new SimulatedProcess({
      number,
      store,
      time,
      weather,
      dice: dice.fork(),
      settings,
      disk,
      logDir,
      onEffect: (kind, key) => this.#onEffect(number, kind, key),
      onMoment: this.#onMoment,
      onLog: (level, message, fields) => this.#onLog(number, level, message, fields),
      onFatal: (error) => this.#onFatal(instance, error),
    } satisfies SimulatedProcessOptions);
    this.#current = instance;
    void instance.started.then((error) => this.#onStarted(instance, error));
  }

  #onStarted(instance: SimulatedProcess, error: SpoorError | undefined): void {
    if (instance.gate.isDead) return;
    if (error === undefined) return this.#note(`process ${instance.number} has started`);
    this.processEvents.failedStarts++;
    this.#note(`process ${instance.number} could not start: ${error.code} ${error.reason}`);
    const { code, reason, message } = error;
    const isTransient = code === "Unavailable" || code === "Timeout" || reason === checksumMismatch;
    if (!isTransient) this.#options.onProblem(`could not start: ${code} ${message}`);
    this.#end(instance);
  }

  /** Checks that the process had a reason to exit: another process committed while it ran. */
  #onFatal(instance: SimulatedProcess, error: SpoorError): void {
    if (instance.gate.isDead) return;
    this.processEvents.fatal++;
    this.#note(`process ${instance.number} exits: ${error.reason}`);
    const others = [...this.#committedMs].filter(([number]) => number !== instance.number);
    const isRight = others.some(([, atMs]) => atMs >= instance.startedMs);
    if (!isRight)
      this.#options.onProblem(
        `process ${instance.number} exited without a reason: ${error.message}`,
      );
    this.#end(instance);
  }

  /** Ends a process; if it was the current one, starts another after a delay. */
  #end(instance: SimulatedProcess): void {
    const { time, dice, weather } = this.#options;
    weather.note(time.nowMs);
    instance.gate.kill();
    instance.disk.kill();
    if (instance !== this.#current) return;
    this.#current = undefined;
    this.#armed = undefined;
    time.after(dice.magnitude(500, 2 * minute), () => {
      weather.note(time.nowMs);
      this.#start(instance.disk, instance.logDir);
    });
  }

  #kill(instance: SimulatedProcess, withPower: boolean): void {
    this.#note(`process ${instance.number} is killed${withPower ? " by a power cut" : ""}`);
    this.#end(instance);
    if (withPower) {
      this.processEvents.powerCuts++;
      instance.disk.cutPower();
    } else this.processEvents.kills++;
  }

  #arm(): void {
    const { dice } = this.#options;
    this.#armed = {
      what: dice.pick(steps),
      moment: dice.pick(["before", "after"]),
      left: dice.magnitude(1, 20),
    };
  }

  readonly #onMoment = (what: string, moment: Moment): void => {
    if (what === "putIfAbsent" && moment === "before") this.#options.onCommit();
    const armed = this.#armed;
    if (armed === undefined || this.#current === undefined || this.#isPaused) return;
    if (armed.what !== what || armed.moment !== moment || --armed.left > 0) return;
    this.#note(`${moment} ${what}`);
    this.#kill(this.#current, this.#options.dice.chance(0.4));
  };

  #killThread(): void {
    const name = this.#current!.threads.killOne(this.#options.dice);
    this.processEvents.threadKills++;
    this.#note(`thread ${name} dies`);
  }

  /** Simulates a machine that sleeps and wakes up. */
  #pause(): void {
    const { time, dice, weather } = this.#options;
    const instance = this.#current!;
    this.processEvents.pauses++;
    this.#isPaused = true;
    instance.gate.pause();
    const ms = dice.magnitude(1000, 120 * minute);
    this.#note(`process ${instance.number} sleeps for ${ms} ms`);
    time.after(ms, () => {
      weather.note(time.nowMs);
      this.#isPaused = false;
      instance.gate.resume();
    });
  }

  /** Simulates a machine that is considered dead: another gets its disk, then it resumes. */
  #takeOver(): void {
    const { time, dice, weather, dir } = this.#options;
    const old = this.#current!;
    this.processEvents.takeOvers++;
    this.#isPaused = true;
    this.#armed = undefined;
    old.gate.pause();
    this.#note(`process ${old.number} is considered dead`);
    time.after(dice.magnitude(1000, 5 * minute), () => {
      weather.note(time.nowMs);
      if (this.#zombie !== undefined) this.#end(this.#zombie);
      this.#zombie = old;
      this.#isPaused = false;
      const logDir = join(dir, `log-${this.processEvents.starts}`);
      this.#start(old.disk.takeOver(old.logDir, logDir), logDir);
      if (this.#isCalm) return this.endFaults();
      time.after(dice.magnitude(100, 20 * minute), () => {
        weather.note(time.nowMs);
        this.#note(`process ${old.number} wakes up`);
        old.gate.resume();
      });
    });
  }

  async #stop(instance: SimulatedProcess): Promise<void> {
    if (instance.modules === undefined) return;
    this.processEvents.stops++;
    this.#note(`process ${instance.number} gets SIGTERM`);
    const { time, dice } = this.#options;
    // The process may be killed before it has stopped, as by systemd.
    time.after(dice.magnitude(100, 2 * minute), () => {
      if (!instance.gate.isDead && instance === this.#current) this.#kill(instance, false);
    });
    const isFlushed = await instance.stop();
    if (instance.gate.isDead) return;
    this.#note(
      `process ${instance.number} has stopped, ${isFlushed ? "all" : "not all"} in blocks`,
    );
    this.#end(instance);
  }

  #onEffect(number: number, kind: RequestKind, key: string): void {
    const { time, trace } = this.#options;
    trace.add(time.nowMs, `${number} ${kind} ${key}`);
    const isCommit = kind === "putIfAbsent" && key.includes("/_delta_log/");
    if (isCommit) this.#committedMs.set(number, time.nowMs);
  }

  #onLog(number: number, level: string, message: string, fields: LogFields): void {
    if (level === "debug") return;
    const { error, reason } = fields;
    const why = typeof reason === "string" ? reason : typeof error === "string" ? error : "";
    this.#note(`${number} logs ${level}: ${message} ${why.replaceAll(this.#options.dir, "")}`);
  }

  #note(text: string): void {
    this.#options.trace.add(this.#options.time.nowMs, text);
  }
}
