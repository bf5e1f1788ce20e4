import { describe, expect, it } from "vitest";
import { systemClock } from "#pkg/clock/clock.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { moduleTable } from "./modules.ts";
import { type Row, rowMaker, RunningParts, startRows } from "./start-rows.ts";
import { insideNames, moduleNames, targets } from "./targets.ts";

/** Records of starts and stops, in order. */
type Events = string[];

interface Made {
  log: string;
  reader: string;
  port: number;
}

interface Shared {
  events: Events;
  failing?: string;
}

const row = rowMaker<Shared, Made>();

function begin({ events, failing }: Shared, name: string): () => Promise<void> {
  events.push(`start ${name}`);
  if (failing === name) throw new Error(`${name} cannot start`);
  return async () => void events.push(`stop ${name}`);
}

const table: readonly Row<Shared, Made>[] = [
  row({
    name: "log",
    needs: [],
    start: async (shared) => ({ made: "the log", stop: begin(shared, "log") }),
  }),
  row({
    name: "reader",
    needs: ["log"],
    start: async (shared, { log }) => ({
      made: `a reader of ${log}`,
      stop: begin(shared, "reader"),
    }),
  }),
  row({
    name: "port",
    needs: ["reader"],
    start: async (shared) => ({ made: 80, stop: begin(shared, "port") }),
  }),
];

function running(): RunningParts {
  return new RunningParts({ clock: systemClock, log: openLog("silent") });
}

describe("rows of a table", () => {
  it("start in table order, get the results that they need, and stop in reverse order", async () => {
    const shared: Shared = { events: [] };
    const parts = running();
    parts.add("lock", async () => void shared.events.push("stop lock"));
    const made = await startRows(table, ["port", "reader", "log"], { shared, parts });
    expect(made).toEqual({ log: "the log", reader: "a reader of the log", port: 80 });
    expect(parts.names).toEqual(["lock", "log", "reader", "port"]);
    await parts.stop(1000);
    const starts = ["start log", "start reader", "start port"];
    expect(shared.events).toEqual([...starts, "stop port", "stop reader", "stop log", "stop lock"]);
    await parts.stop(1000);
    expect(shared.events).toHaveLength(7);
  });

  it("that have started are stopped when a later one fails", async () => {
    const shared: Shared = { events: [], failing: "port" };
    const parts = running();
    const starting = startRows(table, ["log", "reader", "port"], { shared, parts });
    await expect(starting).rejects.toThrow("port cannot start");
    expect(shared.events).toEqual([
      "start log",
      "start reader",
      "start port",
      "stop reader",
      "stop log",
    ]);
    expect(parts.names).toEqual([]);
  });

  it("are refused before any start if one needs a row that is not chosen", async () => {
    const shared: Shared = { events: [] };
    const starting = startRows(table, ["log", "port"], { shared, parts: running() });
    await expect(starting).rejects.toMatchObject({
      code: "InvalidInput",
      reason: "module_needs",
      message: "start module port: it needs reader, before it there is log",
    });
    const backwards = startRows(table.toReversed(), ["log", "reader"], {
      shared,
      parts: running(),
    });
    await expect(backwards).rejects.toMatchObject({ reason: "module_needs" });
    expect(shared.events).toEqual([]);
  });

  it("are all stopped, even if one fails to stop and another one never ends", async () => {
    const events: Events = [];
    let nowMs = 0;
    const clock = {
      nowMs: () => nowMs,
      monotonicMs: () => nowMs,
      sleep: async (ms: number, signal?: AbortSignal) => {
        // Other parts end before any time passes.
        for (let turn = 0; turn < 10; turn++) {
          await Promise.resolve();
          if (signal?.aborted === true) return;
        }
        nowMs += ms;
      },
    };
    const parts = new RunningParts({ clock, log: openLog("silent") });
    const told: number[] = [];
    parts.add("first", async (leftMs) => void told.push(leftMs));
    parts.add("broken", async () => {
      events.push("broken");
      throw new Error("it does not stop");
    });
    parts.add("endless", () => new Promise(() => events.push("endless")));
    await parts.stop(2000);
    expect(events).toEqual(["endless", "broken"]);
    // After the deadline each part still gets a little time.
    expect(told).toEqual([100]);
  });
});

describe("the table of modules", () => {
  it("has the rows of every target, each after those that it needs", () => {
    expect(moduleTable.map(({ name }) => name)).toEqual([...targets.all]);
    const places = new Map(moduleTable.map(({ name }, place) => [name, place]));
    for (const [place, { name, needs }] of moduleTable.entries()) {
      for (const need of needs) expect(places.get(need), `${name}: ${need}`).toBeLessThan(place);
    }
  });

  it("has the rows that a simulation starts, and rows with sockets or real timers", () => {
    const left = moduleNames.filter((name) => !(insideNames as readonly string[]).includes(name));
    expect(left).toEqual(["former-owners", "http-port", "receivers"]);
  });
});
