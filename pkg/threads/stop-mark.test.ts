import { expect, it } from "vitest";
import { StopMark } from "./stop-mark.ts";

it("a stop mark reaches work that polls and work that awaits", async () => {
  const mark = new StopMark();
  const other = new StopMark(mark.buffer);
  const work = other.during(async (signal) => {
    const { promise, resolve } = Promise.withResolvers<string>();
    signal.addEventListener("abort", () => resolve("stopped"));
    return await promise;
  });
  expect(other.isSet).toBe(false);
  mark.set();
  expect(other.isSet).toBe(true);
  expect(await work).toBe("stopped");
});

it("a stop mark that is set after the work stops nothing", async () => {
  const mark = new StopMark();
  let seen: AbortSignal | undefined;
  expect(await mark.during(async (signal) => (seen = signal).aborted)).toBe(false);
  mark.set();
  expect(mark.isSet).toBe(false);
  expect(seen?.aborted).toBe(false);
});

it("a stop mark that is set before the work aborts it at once", async () => {
  const mark = new StopMark();
  mark.set();
  const aborted = await mark.during(async (signal) => {
    await Promise.resolve();
    return signal.aborted;
  });
  expect(aborted).toBe(true);
});
