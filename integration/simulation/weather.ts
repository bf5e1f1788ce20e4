/** What the world does to a process at present: it changes by seeded choice, and ends for good. */
import type { Fault, StoreCall } from "#pkg/objstore/fault.ts";
import type { Dice } from "./dice.ts";

/** How the bucket behaves. */
export type StoreMood =
  | "fine"
  /** Single calls fail, before or after their effect; bits flip, lists are stale. */
  | "flaky"
  /** Bits flip on their way, and nothing says so. */
  | "damaging"
  /** Everything fails at once. */
  | "down"
  /** Nothing is answered; some requests arrive all the same, some of them late. */
  | "silent"
  /** Commits have their effect, and no answer says so. */
  | "answers lost"
  /** Blocks are written and read, and no commit comes through. */
  | "no commits"
  /** One tenant's folder fails. */
  | "one tenant"
  | "slow";

/** How the log's disk behaves. */
export type DiskMood = "fine" | "failing" | "full" | "slow";

const storeMoods: readonly StoreMood[] = [
  "flaky",
  "flaky",
  "damaging",
  "down",
  "silent",
  "answers lost",
  "no commits",
  "one tenant",
  "slow",
];
const diskMoods: readonly DiskMood[] = ["failing", "full", "slow"];

const flakyFaults: readonly Fault[] = ["before", "after", "slow", "damaged", "stale"];

export class Weather {
  store: StoreMood = "fine";
  disk: DiskMood = "fine";
  /** Nobody may count on anything until so long after the last fault, virtual milliseconds. */
  #badUntilMs = 0;
  readonly #dice: Dice;
  readonly #tenants: readonly string[];
  #perMille = 0;
  #tenant = "";

  constructor(dice: Dice, tenants: readonly string[]) {
    this.#dice = dice;
    this.#tenants = tenants;
  }

  changeStore(): void {
    this.store = this.#dice.pick(storeMoods);
    this.#perMille = this.#dice.magnitude(5, 400);
    this.#tenant = this.#dice.pick(this.#tenants);
  }

  changeDisk(): void {
    this.disk = this.#dice.pick(diskMoods);
    this.#perMille = Math.max(this.#perMille, 50);
  }

  clear(): void {
    this.store = "fine";
    this.disk = "fine";
  }

  /** Notes that something bad happens now. */
  note(nowMs: number): void {
    this.#badUntilMs = Math.max(this.#badUntilMs, nowMs + recoveryMs);
  }

  /** Whether queries must be answered in full. */
  isCalm(nowMs: number): boolean {
    return this.store === "fine" && this.disk === "fine" && nowMs > this.#badUntilMs;
  }

  /** What happens to a call of the bucket before it is on its way, or to its answer. */
  storeFault({ kind, key }: StoreCall): Fault {
    switch (this.store) {
      case "down":
        return "before";
      case "flaky":
        return this.#dice.below(1000) < this.#perMille ? this.#dice.pick(flakyFaults) : "none";
      case "damaging":
        return this.#dice.below(1000) < this.#perMille ? "damaged" : "none";
      case "answers lost":
        if (kind === "putIfAbsent") return "after";
        return kind === "get" && key.endsWith(".json") ? "before" : "none";
      case "no commits":
        return kind === "putIfAbsent" ? "before" : "none";
      case "one tenant":
        return key.startsWith(`${this.#tenant}/`) ? "before" : "none";
      default:
        return "none";
    }
  }

  /** Way there and back, milliseconds. */
  storeLatencyMs(): number {
    const ms = this.#dice.magnitude(2, 40);
    return this.store === "slow" ? ms * 100 : ms;
  }

  /** Whether an operation of the disk fails, and whether after it was done. */
  diskFault(operation: string): "none" | "before" | "after" {
    if (this.disk === "full") {
      return operation === "writev" || operation === "create" ? "before" : "none";
    }
    if (this.disk !== "failing" || this.#dice.below(1000) >= this.#perMille) return "none";
    return this.#dice.pick(["before", "after"]);
  }

  diskLatencyMs(operation: string): number {
    if (operation !== "datasync" && operation !== "syncDir") return 0;
    const ms = this.#dice.magnitude(1, 8);
    return this.disk === "slow" ? ms * 300 : ms;
  }
}

/** Retries pause for up to 45 s, and what a partition could not read it reads then. */
const recoveryMs = 180_000;
