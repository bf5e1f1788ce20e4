/** The current faults of the environment (store and disk), changed by seeded choice. */
import type { Fault, StoreCall } from "#pkg/objstore/fault.testing.ts";
import type { Dice } from "./dice.ts";

/** Behaviour of the bucket. */
export type StoreBehaviour =
  | "fine"
  /** Single calls fail, before or after their effect; bits flip, lists are stale. */
  | "flaky"
  /** Bits flip in transit, without an error. */
  | "damaging"
  /** Every call fails immediately. */
  | "down"
  /** No call gets a response; some requests take effect nevertheless, some of them late. */
  | "silent"
  /** Commits take effect, but their responses are lost. */
  | "responses lost"
  /** Blocks are written and read, but every commit fails. */
  | "no commits"
  /** One tenant's folder fails. */
  | "one tenant"
  | "slow";

/** Behaviour of the log's disk. */
export type DiskBehaviour = "fine" | "failing" | "full" | "slow";

const storeBehaviours: readonly StoreBehaviour[] = [
  "flaky",
  "flaky",
  "damaging",
  "down",
  "silent",
  "responses lost",
  "no commits",
  "one tenant",
  "slow",
];
const diskBehaviours: readonly DiskBehaviour[] = ["failing", "full", "slow"];

const flakyFaults: readonly Fault[] = ["before", "after", "slow", "damaged", "stale"];

export class Weather {
  store: StoreBehaviour = "fine";
  disk: DiskBehaviour = "fine";
  /** Until this virtual time the last fault may still have effects, milliseconds. */
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
    this.store = this.#dice.pick(storeBehaviours);
    this.#perMille = this.#dice.magnitude(5, 400);
    this.#tenant = this.#dice.pick(this.#tenants);
  }

  changeDisk(): void {
    this.disk = this.#dice.pick(diskBehaviours);
    this.#perMille = Math.max(this.#perMille, 50);
  }

  clear(): void {
    this.store = "fine";
    this.disk = "fine";
  }

  /** Records that a fault happens now. */
  note(nowMs: number): void {
    this.#badUntilMs = Math.max(this.#badUntilMs, nowMs + recoveryMs);
  }

  /** Returns whether queries must have full results. */
  isCalm(nowMs: number): boolean {
    return this.store === "fine" && this.disk === "fine" && nowMs > this.#badUntilMs;
  }

  /** Returns the fault of a call of the bucket. */
  storeFault({ kind, key }: StoreCall): Fault {
    switch (this.store) {
      case "down":
        return "before";
      case "flaky":
        return this.#dice.below(1000) < this.#perMille ? this.#dice.pick(flakyFaults) : "none";
      case "damaging":
        return this.#dice.below(1000) < this.#perMille ? "damaged" : "none";
      case "responses lost":
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

  /** Returns the round-trip time of a call, milliseconds. */
  storeLatencyMs(): number {
    const ms = this.#dice.magnitude(2, 40);
    return this.store === "slow" ? ms * 100 : ms;
  }

  /** Returns whether a disk operation fails, before or after its effect. */
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

/** Time after a fault until queries must be full; retries pause for up to 45 s. */
const recoveryMs = 180_000;
