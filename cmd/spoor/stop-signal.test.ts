import { EventEmitter } from "node:events";
import { beforeEach, describe, expect, it } from "vitest";
import { echoMs, watchStopSignals } from "./stop-signal.ts";

const heard: string[] = [];
let source: EventEmitter;
let atMs: number;

const clock = {
  nowMs: (): number => 0,
  monotonicMs: (): number => atMs,
  sleep: (): Promise<void> => Promise.resolve(),
};

function watch(): () => void {
  const first = (name: string): void => void heard.push(`first ${name}`);
  const again = (name: string): void => void heard.push(`again ${name}`);
  return watchStopSignals({ first, again }, source, clock);
}

function arrive(name: "SIGINT" | "SIGTERM", afterMs: number): void {
  atMs += afterMs;
  source.emit(name, name);
}

describe("watchStopSignals", () => {
  beforeEach(() => {
    heard.length = 0;
    source = new EventEmitter();
    atMs = 5000;
  });

  it("counts a Ctrl-C that arrives twice, from the terminal and from npm, as one", () => {
    watch();
    arrive("SIGINT", 0);
    arrive("SIGINT", 1);
    expect(heard).toEqual(["first SIGINT"]);
  });

  it("counts the same signal as a second one if it arrives later", () => {
    watch();
    arrive("SIGTERM", 0);
    arrive("SIGTERM", echoMs);
    expect(heard).toEqual(["first SIGTERM", "again SIGTERM"]);
  });

  it("counts another signal as a second one at once", () => {
    watch();
    arrive("SIGTERM", 0);
    arrive("SIGINT", 0);
    expect(heard).toEqual(["first SIGTERM", "again SIGINT"]);
  });

  it("ignores signals after its release", () => {
    const release = watch();
    release();
    arrive("SIGINT", 0);
    expect(heard).toEqual([]);
    expect(source.eventNames()).toEqual([]);
  });
});
