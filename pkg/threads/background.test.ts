import { getPriority } from "node:os";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, it } from "vitest";

const module: string = new URL("./background.ts", import.meta.url).href;

/** Reports a thread's own priority before and after `runInBackground`. */
async function prioritiesOfThread(): Promise<number[]> {
  const code = `
    import { getPriority } from "node:os";
    import { parentPort } from "node:worker_threads";
    import { nativeThreadId, runInBackground } from ${JSON.stringify(module)};
    const before = getPriority(nativeThreadId() ?? 0);
    runInBackground();
    parentPort.postMessage([before, getPriority(nativeThreadId() ?? 0)]);
  `;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
  const [answer] = (await once(worker, "message")) as [number[]];
  await worker.terminate();
  return answer;
}

it("lowers the priority of the calling thread only", async () => {
  const main = getPriority(0);
  const [before, after] = await prioritiesOfThread();
  expect(getPriority(0)).toBe(main);
  expect(before).toBe(main);
  expect(after - before).toBe(process.platform === "linux" ? 5 : 0);
});
