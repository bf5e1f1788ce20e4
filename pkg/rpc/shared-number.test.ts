import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, it } from "vitest";
import { SharedNumber } from "./shared-number.ts";

it("holds integers up to 2^53 and is seen by who shares its buffer", () => {
  const number = new SharedNumber();
  const other = new SharedNumber(number.buffer);
  expect(other.value).toBe(0);
  for (const value of [1, 2 ** 32, Number.MAX_SAFE_INTEGER, 0]) {
    number.set(value);
    expect(other.value).toBe(value);
  }
});

it("a change after the version was taken ends the wait, also one before it began", async () => {
  const number = new SharedNumber();
  const { version } = number;
  const waiting = number.changed(version, 60_000);
  number.set(5);
  await waiting;
  await number.changed(version, 60_000);
  number.touch();
  await number.changed(version, 60_000);
  // Nothing changed since: only the time ends it.
  await number.changed(number.version, 5);
  expect(number.value).toBe(5);
});

it("wakes a thread that waits", async () => {
  const number = new SharedNumber();
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    // A thread with nothing else to wait for would end: this kind of waiting does not hold it.
    parentPort.once("message", () => undefined);
    import(workerData.module).then(async ({ SharedNumber }) => {
      const number = new SharedNumber(workerData.buffer);
      for (let last = 0; ; ) {
        const { version } = number;
        if (number.value === last) await number.changed(version, 60_000);
        else parentPort.postMessage((last = number.value));
      }
    });`;
  const module = new URL("shared-number.ts", import.meta.url).href;
  const worker = new Worker(code, { eval: true, workerData: { module, buffer: number.buffer } });
  for (let value = 1; value <= 50; value++) {
    number.set(value);
    expect(await once(worker, "message")).toEqual([value]);
  }
  await worker.terminate();
});
