/** Pinned heads: their content at the time of the pin, until the pin is released or expires. */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { LiveHead, PinnedData } from "./live-head.ts";
import type { HeadInfo } from "./messages.ts";

interface Pin {
  heads: Map<number, { head: LiveHead; data: PinnedData }>;
  expiresMs: number;
}

/** Most pins at a time; further queries are refused. */
const pinsMax = 1000;

/** The pins of one partition. */
export class Pins {
  readonly #pins = new Map<number, Pin>();
  /** Heads that are in a block and are kept only by pins. */
  readonly #stored = new Set<LiveHead>();
  #nextPinId = 0;

  get count(): number {
    return this.#pins.size;
  }

  /** Memory of heads that are in a block and are kept only by pins, bytes. */
  get storedBytes(): number {
    let sum = 0;
    for (const { head } of this.#stored) sum += head.sizeBytes;
    return sum;
  }

  /** Pins heads until `expiresMs`. Throws LimitExceeded if there are too many pins. */
  add(heads: readonly LiveHead[], expiresMs: number): { pinId: number; heads: HeadInfo[] } {
    const pinId = this.#nextPinId++;
    const held: Pin["heads"] = new Map();
    const withSpans = heads.filter(({ head }) => head.rows > 0);
    if (withSpans.length === 0) return { pinId, heads: [] };
    if (this.#pins.size >= pinsMax) {
      throw new SpoorError("LimitExceeded", `${pinsMax} queries pin heads already`, {
        reason: "pins",
        retryAfterMs: 1000,
      });
    }
    for (const head of withSpans) {
      head.pinCount++;
      held.set(head.id, { head, data: head.pin() });
    }
    this.#pins.set(pinId, { heads: held, expiresMs });
    return { pinId, heads: [...held.values()].map(({ data }) => data.info) };
  }

  /** Returns a pinned head. Throws Timeout if the pin was released or has expired. */
  get(pinId: number, headId: number): PinnedData {
    const pinned = this.#pins.get(pinId)?.heads.get(headId);
    if (pinned !== undefined) return pinned.data;
    throw new SpoorError("Timeout", `head ${headId} is no longer pinned: the query took too long`, {
      reason: "pin_expired",
    });
  }

  release(pinId: number): void {
    const pin = this.#pins.get(pinId);
    if (pin === undefined) return;
    this.#pins.delete(pinId);
    for (const { head } of pin.heads.values()) {
      head.pinCount--;
      if (head.pinCount === 0) this.#stored.delete(head);
    }
  }

  dropExpired(nowMs: number): void {
    for (const [pinId, { expiresMs }] of this.#pins) if (expiresMs <= nowMs) this.release(pinId);
  }

  /** Notes that the head is in a block: from now on only its pins keep it in memory. */
  noteStored(head: LiveHead): void {
    if (head.pinCount > 0) this.#stored.add(head);
  }
}
