import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, it } from "vitest";
import { SharedNumber } from "./shared-number.ts";

it("holds integers up to 2^53, visible through every view of its buffer", () => {
  const number = new SharedNumber();
  const other = new SharedNumber(number.buffer);
  expect(other.value).toBe(0);
  for (const value of [1, 2 ** 32, Number.MAX_SAFE_INTEGER, 0]) {
    number.set(value);
    expect(other.value).toBe(value);
  }
});

it("is seen by another thread", async () => {
  const number = new SharedNumber();
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    import(workerData.module).then(({ SharedNumber }) => {
      const number = new SharedNumber(workerData.buffer);
      let last = 0;
      setInterval(() => {
        if (number.value !== last) parentPort.postMessage((last = number.value));
      }, 1);
    });`;
  const module = new URL("shared-number.ts", import.meta.url).href;
  const worker = new Worker(code, { eval: true, workerData: { module, buffer: number.buffer } });
  for (let value = 1; value <= 50; value++) {
    number.set(value);
    expect(await once(worker, "message")).toEqual([value]);
  }
  await worker.terminate();
});
