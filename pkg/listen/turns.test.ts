import { expect, test } from "vitest";
import { Turns } from "./turns.ts";

test("runs a few at a time, in order, and goes on after a failure", async () => {
  const turns = new Turns(2);
  const started: number[] = [];
  const gates = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
  const tasks = gates.map(({ promise }, i) =>
    turns.run(() => {
      started.push(i);
      return promise;
    }),
  );
  expect([started, turns.running]).toEqual([[0, 1], 2]);
  gates[1].reject(new Error("broken"));
  await expect(tasks[1]).rejects.toThrow("broken");
  await Promise.resolve();
  expect([started, turns.running]).toEqual([[0, 1, 2], 2]);
  for (const gate of gates) gate.resolve();
  await Promise.all([tasks[0], tasks[2], tasks[3]]);
  expect([started, turns.running]).toEqual([[0, 1, 2, 3], 0]);
});
