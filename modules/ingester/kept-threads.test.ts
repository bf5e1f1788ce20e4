import { MessageChannel } from "node:worker_threads";
import { afterEach, expect, it } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Thread } from "#pkg/threads/thread.ts";
import { KeptThreads } from "./kept-threads.ts";

interface Fake {
  isEnded: boolean;
  /** As the thread's `error` event. */
  fail: () => void;
}

const fakes: Fake[] = [];

function startThread(): Thread {
  const { port1 } = new MessageChannel();
  const fake: Fake = { isEnded: false, fail: () => port1.emit("error", new Error("no memory")) };
  fakes.push(fake);
  const terminate = async (): Promise<void> => {
    fake.isEnded = true;
    port1.close();
  };
  return Object.assign(port1, { terminate }) as Thread;
}

function makeThreads(idleMs: number): KeptThreads {
  return new KeptThreads({
    entry: new URL("file:///nothing.ts"),
    staying: 1,
    idleMs,
    startThread,
    died: (why) => new SpoorError("Unavailable", `it died: ${why}`),
    ended: () => new SpoorError("Canceled", "it was ended"),
  });
}

afterEach(() => {
  fakes.length = 0;
});

it("a thread is taken again; beyond those that stay one without work ends after its time", async () => {
  const threads = makeThreads(1);
  const [first, second] = [threads.take(), threads.take()];
  threads.park(first);
  expect(threads.take()).toBe(first);
  threads.park(second);
  await expect.poll(() => fakes.map(({ isEnded }) => isEnded)).toEqual([false, true]);
  expect(threads.size).toBe(1);
  threads.park(first);
  expect(threads.take()).toBe(first);
  await threads.endAll();
  expect(fakes.map(({ isEnded }) => isEnded)).toEqual([true, true]);
});

it("calls to a thread that dies, or is ended, fail with why; nobody gets it again", async () => {
  const threads = makeThreads(60_000);
  const dying = threads.take();
  const call = dying.rpc.call("work", undefined);
  fakes[0].fail();
  await expect(call).rejects.toMatchObject({ message: "it died: no memory" });
  threads.park(dying);
  const next = threads.take();
  expect(next).not.toBe(dying);
  const ended = next.rpc.call("work", undefined);
  await threads.end(next);
  await expect(ended).rejects.toMatchObject({ code: "Canceled" });
  expect(threads.size).toBe(0);
});
