/** Rates of spans and bytes per tenant over the last minute, for the status page. */
import type { Clock } from "#pkg/clock/clock.ts";

export interface TenantRate {
  spansPerSecond: number;
  /** Bytes of request bodies as protobuf. */
  bytesPerSecond: number;
}

const slotMs = 10_000;
const slots = 6;
/** Beyond this many tenants, those that sent nothing in the last minute are forgotten. */
const tenantsMax = 10_000;

/** Number of an unused slot. */
const never = Number.NEGATIVE_INFINITY;

/** Sums of one slot of time. */
interface Slot {
  /** Index of the slot: monotonic time divided by `slotMs`. */
  number: number;
  spans: number;
  bytes: number;
}

export class TenantActivity {
  readonly #clock: Clock;
  readonly #tenants = new Map<string, Slot[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts the spans and bytes of a request. */
  note(tenant: string, spans: number, bytes: number): void {
    const number = this.#slotNumber();
    const slot = this.#slotsOf(tenant)[number % slots];
    if (slot.number !== number) Object.assign(slot, { number, spans: 0, bytes: 0 });
    slot.spans += spans;
    slot.bytes += bytes;
  }

  /** Returns rates over the last 50 s (complete slots only) of tenants that sent something. */
  rates(): Map<string, TenantRate> {
    const out = new Map<string, TenantRate>();
    const now = this.#slotNumber();
    for (const [tenant, own] of this.#tenants) {
      const recent = own.filter(({ number }) => number > now - slots && number < now);
      if (recent.length === 0) continue;
      const seconds = ((slots - 1) * slotMs) / 1000;
      out.set(tenant, {
        spansPerSecond: recent.reduce((sum, { spans }) => sum + spans, 0) / seconds,
        bytesPerSecond: recent.reduce((sum, { bytes }) => sum + bytes, 0) / seconds,
      });
    }
    return out;
  }

  #slotNumber(): number {
    return Math.floor(this.#clock.monotonicMs() / slotMs);
  }

  #slotsOf(tenant: string): Slot[] {
    let own = this.#tenants.get(tenant);
    if (own === undefined) {
      if (this.#tenants.size >= tenantsMax) this.#forgetIdle();
      own = Array.from({ length: slots }, () => ({ number: never, spans: 0, bytes: 0 }));
      this.#tenants.set(tenant, own);
    }
    return own;
  }

  #forgetIdle(): void {
    const oldest = this.#slotNumber() - slots;
    for (const [tenant, own] of this.#tenants) {
      if (own.every(({ number }) => number <= oldest)) this.#tenants.delete(tenant);
    }
    // If all are active, the tenant that was added first is dropped.
    if (this.#tenants.size >= tenantsMax) {
      const [first] = this.#tenants.keys();
      this.#tenants.delete(first);
    }
  }
}
