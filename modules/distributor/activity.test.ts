import { expect, test } from "vitest";
import { TenantActivity } from "./activity.ts";

test("rates are those of the last minute, without the slot that is not over", () => {
  let nowMs = 0;
  const clock = { nowMs: () => 0, monotonicMs: () => nowMs, sleep: () => Promise.resolve() };
  const activity = new TenantActivity(clock);
  activity.note("a", 100, 1000);
  activity.note("b", 1, 10);
  expect(activity.rates()).toEqual(new Map());
  nowMs = 10_000;
  activity.note("a", 400, 4000);
  nowMs = 20_000;
  activity.note("a", 7, 7);
  expect(activity.rates()).toEqual(
    new Map([
      ["a", { spansPerSecond: 10, bytesPerSecond: 100 }],
      ["b", { spansPerSecond: 0.02, bytesPerSecond: 0.2 }],
    ]),
  );
  nowMs = 75_000;
  expect(activity.rates()).toEqual(
    new Map([["a", { spansPerSecond: 0.14, bytesPerSecond: 0.14 }]]),
  );
  nowMs = 1_000_000;
  expect(activity.rates()).toEqual(new Map());
});

test("no more tenants are remembered than the bound", () => {
  const clock = { nowMs: () => 0, monotonicMs: () => 0, sleep: () => Promise.resolve() };
  const activity = new TenantActivity(clock);
  for (let i = 0; i < 10_100; i++) activity.note(`t${i}`, 1, 1);
  clock.monotonicMs = () => 10_000;
  expect(activity.rates().size).toBe(10_000);
});
