/**
 * Keeps one process running, as an init system does: starts it again when it ends, whoever ended
 * it. And ends it: kills at any step, power cuts, pauses, two processes at once.
 */
import { join } from "node:path";
import type { SpoorError } from "#pkg/errors/errors.ts";
import type { LogFields } from "#pkg/log/log.ts";
import type { RequestKind } from "#pkg/objstore/ledger.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import type { Dice } from "./dice.ts";
import { Disk } from "./disk.ts";
import { Life, type LifeOptions } from "./life.ts";
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
  /** The process is about to commit. */
  onCommit: () => void;
}

/** Where a process is killed: at the n-th time that it comes to this step. */
interface ArmedKill {
  what: string;
  moment: Moment;
  left: number;
}

const steps: readonly string[] = `put put putIfAbsent putIfAbsent get list deleteMany
  create writev writev datasync datasync rename syncDir unlink`.split(/\s+/);

const minute = 60_000;
/** Reason of errors of bytes that changed on their way, not in the bucket. */
const damagedOnItsWay = "checksum_mismatch";

/** Numbers of what happened. */
export interface Fates {
  lives: number;
  kills: number;
  powerCuts: number;
  pauses: number;
  takeOvers: number;
  stops: number;
  threadKills: number;
  /** Processes that found another writer and ended. */
  fatal: number;
  failedStarts: number;
}

export class Supervisor {
  readonly fates: Fates = {
    lives: 0,
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
  /** The process that clients reach. */
  #life: Life | undefined;
  /** One that another has replaced without its knowledge. */
  #zombie: Life | undefined;
  #armed: ArmedKill | undefined;
  #isPaused = false;
  #isCalm = false;
  /** When each process committed last. */
  readonly #committedMs = new Map<number, number>();

  constructor(options: SupervisorOptions) {
    this.#options = options;
    const { dir, dice } = options;
    const disk = new Disk({ ...options, dice: dice.fork(), onMoment: this.#onMoment });
    this.#start(disk, join(dir, "log-0"));
  }

  /** The running process, if it has started and is not paused. */
  get life(): Life | undefined {
    return this.#isPaused || this.#life?.modules === undefined ? undefined : this.#life;
  }

  /** Something happens to the process. */
  strike(): void {
    const { dice, weather, time } = this.#options;
    if (this.#life === undefined || this.#isPaused) return;
    weather.note(time.nowMs);
    const fate = dice.below(12);
    if (fate < 5) this.#arm();
    else if (fate < 7) this.#kill(this.#life, dice.chance(0.5));
    else if (fate < 9) this.#killThread();
    else if (fate < 10) this.#pause();
    else if (fate < 11) this.#beReplaced();
    else void this.#stop(this.#life);
  }

  /** Nothing happens any more: one process runs, or starts. */
  calmDown(): void {
    this.#isCalm = true;
    this.#armed = undefined;
    if (this.#zombie !== undefined) this.#end(this.#zombie);
    this.#zombie = undefined;
  }

  #start(disk: Disk, logDir: string): void {
    const { store, time, weather, dice, settings } = this.#options;
    const number = this.fates.lives++;
    this.#note(`life ${number} starts`);
    const life: Life = new Life({
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
      onFatal: (error) => this.#onFatal(life, error),
    } satisfies LifeOptions);
    this.#life = life;
    void life.started.then((error) => this.#onStarted(life, error));
  }

  #onStarted(life: Life, error: SpoorError | undefined): void {
    if (life.gate.isDead) return;
    if (error === undefined) return this.#note(`life ${life.number} has started`);
    this.fates.failedStarts++;
    this.#note(`life ${life.number} could not start: ${error.code} ${error.reason}`);
    const { code, reason, message } = error;
    const isTransient = code === "Unavailable" || code === "Timeout" || reason === damagedOnItsWay;
    if (!isTransient) this.#options.onProblem(`could not start: ${code} ${message}`);
    this.#end(life);
  }

  /** The process must have a reason: somebody else committed while it ran. */
  #onFatal(life: Life, error: SpoorError): void {
    if (life.gate.isDead) return;
    this.fates.fatal++;
    this.#note(`life ${life.number} gives up: ${error.reason}`);
    const others = [...this.#committedMs].filter(([number]) => number !== life.number);
    const isRight = others.some(([, atMs]) => atMs >= life.startedMs);
    if (!isRight) this.#options.onProblem(`life ${life.number} gave up: ${error.message}`);
    this.#end(life);
  }

  /** The process is gone; another one is started where it was the current one. */
  #end(life: Life): void {
    const { time, dice, weather } = this.#options;
    weather.note(time.nowMs);
    life.gate.kill();
    life.disk.kill();
    if (life !== this.#life) return;
    this.#life = undefined;
    this.#armed = undefined;
    time.after(dice.magnitude(500, 2 * minute), () => {
      weather.note(time.nowMs);
      this.#start(life.disk, life.logDir);
    });
  }

  #kill(life: Life, withPower: boolean): void {
    this.#note(`life ${life.number} is killed${withPower ? " by a power cut" : ""}`);
    this.#end(life);
    if (withPower) {
      this.fates.powerCuts++;
      life.disk.cutPower();
    } else this.fates.kills++;
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
    if (armed === undefined || this.#life === undefined || this.#isPaused) return;
    if (armed.what !== what || armed.moment !== moment || --armed.left > 0) return;
    this.#note(`${moment} ${what}`);
    this.#kill(this.#life, this.#options.dice.chance(0.4));
  };

  #killThread(): void {
    const name = this.#life!.threads.killOne(this.#options.dice);
    this.fates.threadKills++;
    this.#note(`thread ${name} dies`);
  }

  /** A machine that sleeps and wakes up. */
  #pause(): void {
    const { time, dice, weather } = this.#options;
    const life = this.#life!;
    this.fates.pauses++;
    this.#isPaused = true;
    life.gate.pause();
    const ms = dice.magnitude(1000, 120 * minute);
    this.#note(`life ${life.number} sleeps for ${ms} ms`);
    time.after(ms, () => {
      weather.note(time.nowMs);
      this.#isPaused = false;
      life.gate.resume();
    });
  }

  /** A machine is taken for dead: another one gets its disk, and then it goes on. */
  #beReplaced(): void {
    const { time, dice, weather, dir } = this.#options;
    const old = this.#life!;
    this.fates.takeOvers++;
    this.#isPaused = true;
    this.#armed = undefined;
    old.gate.pause();
    this.#note(`life ${old.number} is taken for dead`);
    time.after(dice.magnitude(1000, 5 * minute), () => {
      weather.note(time.nowMs);
      if (this.#zombie !== undefined) this.#end(this.#zombie);
      this.#zombie = old;
      this.#isPaused = false;
      const logDir = join(dir, `log-${this.fates.lives}`);
      this.#start(old.disk.takeOver(old.logDir, logDir), logDir);
      if (this.#isCalm) return this.calmDown();
      time.after(dice.magnitude(100, 20 * minute), () => {
        weather.note(time.nowMs);
        this.#note(`life ${old.number} wakes up`);
        old.gate.resume();
      });
    });
  }

  async #stop(life: Life): Promise<void> {
    if (life.modules === undefined) return;
    this.fates.stops++;
    this.#note(`life ${life.number} is told to stop`);
    const { time, dice } = this.#options;
    // It may be killed before it is done, as by systemd.
    time.after(dice.magnitude(100, 2 * minute), () => {
      if (!life.gate.isDead && life === this.#life) this.#kill(life, false);
    });
    const isFlushed = await life.stop();
    if (life.gate.isDead) return;
    this.#note(`life ${life.number} has stopped, ${isFlushed ? "all" : "not all"} in blocks`);
    this.#end(life);
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
