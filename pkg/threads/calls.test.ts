import { MessageChannel, type MessagePort } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import { type Handlers, Rpc, Transferred } from "./calls.ts";

const ports: MessagePort[] = [];

afterEach(() => {
  for (const port of ports.splice(0)) port.close();
});

/** Two ends of one channel. */
function connect(handlers: Handlers): { caller: Rpc; callerPort: MessagePort } {
  const { port1, port2 } = new MessageChannel();
  ports.push(port1, port2);
  void new Rpc(port2, handlers);
  return { caller: new Rpc(port1, {}), callerPort: port1 };
}

describe("call", () => {
  it("sends arguments and returns results, in any order", async () => {
    const release = Promise.withResolvers<void>();
    const { caller } = connect({
      slow: async (text: string) => {
        await release.promise;
        return `${text}!`;
      },
      quick: ({ a, b }: { a: bigint; b: bigint }) => {
        release.resolve();
        return a + b;
      },
    });
    const slow = caller.call("slow", "done");
    expect(await caller.call("quick", { a: 1n, b: 2n ** 60n })).toBe(2n ** 60n + 1n);
    expect(await slow).toBe("done!");
  });

  it("sends errors with code, reason and retry delay", async () => {
    const { caller } = connect({
      fails: () => {
        throw new SpoorError("LimitExceeded", "too many", { reason: "pins", retryAfterMs: 7 });
      },
      breaks: () => Promise.reject(new TypeError("oops")),
    });
    await expect(caller.call("fails", undefined)).rejects.toMatchObject({
      code: "LimitExceeded",
      reason: "pins",
      retryAfterMs: 7,
      message: "too many",
    });
    await expect(caller.call("breaks", undefined)).rejects.toMatchObject({
      code: "Internal",
      message: "oops",
    });
    await expect(caller.call("unknown", undefined)).rejects.toMatchObject({ code: "Internal" });
  });

  it("transfers the buffers of a Transferred result", async () => {
    let kept: ArrayBuffer | undefined;
    const { caller } = connect({
      bytes: () => {
        const bytes = new Uint8Array([1, 2, 3]);
        kept = bytes.buffer;
        return new Transferred(bytes, [bytes.buffer]);
      },
    });
    expect(await caller.call("bytes", undefined)).toEqual(new Uint8Array([1, 2, 3]));
    expect(kept!.byteLength).toBe(0);
  });

  it("rejects values that cannot be cloned, in either direction, and stays usable", async () => {
    const { caller } = connect({ give: () => () => 5, echo: (value: unknown) => value });
    await expect(caller.call("echo", () => 5)).rejects.toMatchObject({ code: "Internal" });
    await expect(caller.call("give", undefined)).rejects.toMatchObject({ code: "Internal" });
    expect(await caller.call("echo", 5)).toBe(5);
  });

  it("that is aborted rejects at once; its late result is ignored", async () => {
    const release = Promise.withResolvers<void>();
    const { caller } = connect({ slow: () => release.promise, echo: (value: unknown) => value });
    const controller = new AbortController();
    const slow = caller.call("slow", undefined, controller.signal);
    controller.abort();
    await expect(slow).rejects.toMatchObject({ code: "Canceled" });
    await expect(caller.call("echo", 1, controller.signal)).rejects.toMatchObject({
      code: "Canceled",
    });
    release.resolve();
    expect(await caller.call("echo", 2)).toBe(2);
  });
});

describe("close", () => {
  it("fails pending and later calls with the first error", async () => {
    const { caller } = connect({ never: () => new Promise(() => undefined) });
    const waiting = [caller.call("never", 1), caller.call("never", 2)];
    caller.close(new SpoorError("Unavailable", "died"));
    caller.close(new SpoorError("Canceled", "stopped"));
    for (const call of [...waiting, caller.call("never", 3)]) {
      await expect(call).rejects.toMatchObject({ code: "Unavailable", message: "died" });
    }
    caller.notify("never", 4);
  });
});

describe("notify", () => {
  it("arrives in order, before a call that is made after it", async () => {
    const seen: number[] = [];
    const { caller } = connect({ note: (n: number) => void seen.push(n), seen: () => seen.length });
    for (let i = 0; i < 100; i++) caller.notify("note", i);
    caller.notify("nobody listens", 0);
    expect(await caller.call("seen", undefined)).toBe(100);
    expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });
});
