import { planOf } from "#pkg/engine/condition/plan.ts";
import { MessageChannel } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import type { ListTracesRequest } from "#pkg/api/query.ts";
import type { Thread } from "#pkg/threads/thread.ts";
import { parseLeniently } from "#pkg/traceql/traceql.ts";
import { LivePool, type LivePoolOptions } from "./live-pool.ts";
import type { LiveTask } from "./live-questions.ts";
import { makeTrace, startIngester, TempFolder } from "./ingester.testing.ts";

const never = new AbortController().signal;
const all = { startNano: 0n, endNano: 2n ** 62n };

/** Threads that take a question and are busy with it until the test calls its `answer`. */
class Threads {
  readonly asked: { tenant: string; answer: () => void }[] = [];
  started = 0;
  ended = 0;

  start = (): Thread => {
    this.started++;
    const { port1, port2 } = new MessageChannel();
    port2.on("message", ({ id, args }: { id: number; args: { request: { tenant: string } } }) => {
      const answer = (): void => port2.postMessage({ kind: "answer", id, value: "done" });
      this.asked.push({ tenant: args.request.tenant, answer });
    });
    const terminate = async (): Promise<void> => {
      this.ended++;
      port1.close();
    };
    return Object.assign(port1, { terminate }) as Thread;
  };
}

let pool: LivePool;
let threads: Threads;

function makePool(options: Partial<LivePoolOptions> = {}): void {
  threads = new Threads();
  pool = new LivePool({
    tenantThreads: 1,
    threadsMax: 2,
    queuedMax: 4,
    timeoutMs: 60_000,
    graceMs: 1,
    nowMs: () => 0,
    idleMs: 60_000,
    startThread: threads.start,
    ...options,
  });
}

function ask(tenant: string, signal: AbortSignal = never): Promise<unknown> {
  const task = { question: "list", head: {}, request: { tenant } } as unknown;
  return pool.ask(tenant, task as LiveTask<"list">, signal);
}

async function untilAsked(count: number): Promise<void> {
  while (threads.asked.length < count) await new Promise((resolve) => setImmediate(resolve));
}

afterEach(async () => {
  await pool.stop();
});

describe("questions to heads", () => {
  it("get a thread whatever another tenant asks for", async () => {
    makePool();
    const stuck = [ask("a"), ask("a"), ask("a")].map((one) => one.catch(() => "ended"));
    await untilAsked(1);
    const other = ask("b");
    await untilAsked(2);
    expect(threads.asked.map(({ tenant }) => tenant)).toEqual(["a", "b"]);
    expect(pool).toMatchObject({ running: 2, waiting: 2 });
    threads.asked[1].answer();
    expect(await other).toBe("done");
    await pool.stop();
    expect(await Promise.all(stuck)).toEqual(["ended", "ended", "ended"]);
  });

  it("end their thread when they are cancelled and do not stop by themselves", async () => {
    const reasons: string[] = [];
    makePool({ threadsMax: 1, onEnded: (reason) => reasons.push(reason) });
    const abort = new AbortController();
    const stuck = ask("a", abort.signal);
    const next = ask("a");
    await untilAsked(1);
    abort.abort();
    await expect(stuck).rejects.toMatchObject({ code: "Canceled" });
    await untilAsked(2);
    threads.asked[1].answer();
    expect(await next).toBe("done");
    expect([reasons, threads.started, threads.ended]).toEqual([["canceled"], 2, 1]);
  });

  it("have a budget of time each", async () => {
    makePool({ timeoutMs: 5 });
    await expect(ask("a")).rejects.toMatchObject({ code: "Timeout", reason: "live_timeout" });
    expect(threads.ended).toBe(1);
  });

  it("are refused beyond a bound, and cost nothing when they are cancelled in the line", async () => {
    makePool({ queuedMax: 1, threadsMax: 1 });
    const abort = new AbortController();
    const first = ask("a");
    const waiting = ask("b", abort.signal);
    await expect(ask("c")).rejects.toMatchObject({ code: "LimitExceeded", reason: "queue_full" });
    abort.abort();
    await expect(waiting).rejects.toMatchObject({ code: "Canceled" });
    await untilAsked(1);
    threads.asked[0].answer();
    expect(await first).toBe("done");
    expect(threads.asked.length).toBe(1);
  });
});

it("a neighbour's heavy condition holds up neither new spans nor look-ups", async () => {
  makePool();
  await using folder = await TempFolder.make();
  const running = await startIngester({ dir: folder.path, realThreads: true });
  try {
    const value = "a".repeat(1_000_000);
    const heavy = makeTrace(1).map((span) => ({ ...span, attributes: { x: value } }));
    await running.append("a", heavy);
    await running.readAll();
    const { filter } = parseLeniently(`{ .x =~ "${"a{0,1000}".repeat(30)}.*b" }`);
    const pinned = await running.ingester.pin("a", never);
    const abort = new AbortController();
    const request: ListTracesRequest = { ...all, limit: 20, plan: planOf(filter) };
    // It takes minutes: nothing but its end can let go of the thread.
    const searches = pinned.heads.map(async (head) => {
      await expect(running.ask("list", head, request, abort.signal)).rejects.toMatchObject({
        code: "Canceled",
      });
    });
    const other = makeTrace(2);
    await running.append("b", other);
    await running.readAll();
    expect((await running.live("b", other)).length).toBe(other.length);
    expect((await running.live("a", heavy)).length).toBe(heavy.length);
    abort.abort();
    await Promise.all(searches);
    pinned.release();
  } finally {
    await running.stop();
  }
});
