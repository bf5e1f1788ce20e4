import { describe, expect, it } from "vitest";
import { FairQueue } from "./fair-queue.ts";

/** Runs one item at a time; each item takes the time that its number says. */
class OnePlace {
  nowMs = 0;
  readonly queue = new FairQueue<number>(() => this.nowMs);

  /** Runs at most `count` waiting items; returns the tenants in the order of their turns. */
  run(count: number): string {
    const turns: string[] = [];
    for (let i = 0; i < count; i++) {
      const turn = this.queue.next(() => true);
      if (turn === undefined) break;
      turns.push(turn.tenant);
      this.nowMs += turn.item;
      this.queue.end(turn.tenant);
    }
    return turns.join("");
  }

  add(tenant: string, count: number, ms: number): void {
    // A fraction makes the items of a tenant distinct.
    for (let i = 0; i < count; i++) this.queue.add(tenant, ms + i / 1e6);
  }
}

describe("FairQueue", () => {
  it("orders tenants by used time, not by number of items", () => {
    const place = new OnePlace();
    place.add("h", 4, 1000);
    place.add("l", 30, 10);
    expect(place.run(34)).toMatch(/^hl{30}h+$/);
  });

  it("alternates between tenants with equally long work", () => {
    const place = new OnePlace();
    place.add("a", 3, 5);
    place.add("b", 3, 5);
    expect(place.run(2)).toBe("ab");
    expect(place.run(2)).toBe("ab");
  });

  it("counts work that still runs", () => {
    const place = new OnePlace();
    place.queue.start("a");
    place.add("a", 1, 1);
    place.add("b", 1, 1);
    place.nowMs += 500;
    expect(place.run(2)).toBe("ba");
  });

  it("gives no credit for idle time, and keeps used time over a pause", () => {
    const place = new OnePlace();
    place.add("h", 2, 1000);
    expect(place.run(2)).toBe("hh");
    // It arrives when the other has used 1000 ms and is paused; it gets no credit for these.
    place.add("l", 3, 600);
    place.add("h", 1, 600);
    expect(place.run(4)).toBe("llhl");
  });

  it("skips tenants that may not start, and items that were deleted", () => {
    const { queue } = new OnePlace();
    queue.add("a", 1);
    queue.add("a", 2);
    queue.add("b", 3);
    expect(queue.delete("a", 1)).toBe(true);
    expect(queue.delete("a", 1)).toBe(false);
    expect(queue.next((tenant) => tenant !== "a")).toEqual({ tenant: "b", item: 3 });
    expect(queue.next(() => false)).toBeUndefined();
    expect(queue).toMatchObject({ waiting: 1, running: 1 });
    expect([queue.waitingOf("a"), queue.runningOf("b"), queue.runningOf("a")]).toEqual([1, 1, 0]);
  });
});
