import { describe, expect, test } from "vitest";
import { runCli } from "#cmd/spoor/cli.ts";
import type { LoadSummary } from "#cmd/spoor/load/load-text.ts";
import { recordIo } from "#cmd/spoor/spoor.testing.ts";
import { startReceiver, type TestReceiver } from "#modules/receivers/receiver.testing.ts";
import type { PushRequest } from "#pkg/api/ingest.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { splitRequest } from "#pkg/otlp/split.ts";

interface LoadRun {
  code: number;
  summary: LoadSummary;
  text: string;
}

const protocols = ["http", "grpc"] as const;

async function load(
  receiver: TestReceiver,
  protocol: "http" | "grpc",
  args: readonly string[] = [],
): Promise<LoadRun> {
  const port = protocol === "http" ? receiver.httpPort : receiver.grpcPort;
  const place = ["--protocol", protocol, "--endpoint", `http://127.0.0.1:${port}`];
  const io = recordIo();
  const common = ["--spans-per-second", "0", "--traces", "300", "--json"];
  const code = await runCli(["load", ...place, ...common, ...args], io);
  return { code, summary: JSON.parse(io.stdout) as LoadSummary, text: io.stdout + io.stderr };
}

function spansIn({ body }: PushRequest): number {
  return splitRequest(body, { partitionCount: 1 }).acceptedSpans;
}

function sizes(requests: readonly PushRequest[]): number[] {
  return requests.map(spansIn).sort((a, b) => a - b);
}

describe.each(protocols)("spoor load over %s", (protocol) => {
  test("sends the same for the same seed, and everything is acknowledged", async () => {
    await using receiver = await startReceiver({}, { multiTenancy: true });
    const args = ["--tenant", "shop", "--seed", "9"];
    const first = await load(receiver, protocol, args);
    const requests = receiver.sink.requests.splice(0);
    expect(first.code).toBe(0);
    expect(first.summary.acknowledgedSpans).toBe(requests.map(spansIn).reduce((a, b) => a + b, 0));
    expect(first.summary).toMatchObject({ traces: 300, rejectedSpans: 0, refusedRequests: {} });
    expect(new Set(requests.map(({ tenant }) => tenant))).toEqual(new Set(["shop"]));
    const second = await load(receiver, protocol, args);
    expect(second.summary.sentSpans).toBe(first.summary.sentSpans);
    expect(sizes(receiver.sink.requests)).toEqual(sizes(requests));
  });

  test("retries retryable refusals, and reports their reasons", async () => {
    await using receiver = await startReceiver();
    const accept = receiver.sink.answer;
    let refusals = 3;
    receiver.sink.answer = async (request) => {
      if (refusals-- > 0) {
        throw new SpoorError("LimitExceeded", "no room now", {
          reason: "queue_full",
          retryAfterMs: 20,
        });
      }
      return await accept(request);
    };
    const { code, summary } = await load(receiver, protocol);
    expect(code).toBe(0);
    expect(summary.acknowledgedSpans).toBe(summary.sentSpans);
    expect(Object.values(summary.refusedRequests)).toEqual([3]);
    expect(receiver.sink.requests).toHaveLength(summary.sentRequests + 3);
  });

  test("counts permanent refusals, of requests and of single spans", async () => {
    await using receiver = await startReceiver();
    let bad = true;
    receiver.sink.answer = async (request) => {
      if (bad) {
        bad = false;
        throw new SpoorError("InvalidInput", "not like this");
      }
      const rejectedMessage = "one is too much";
      return { acceptedSpans: spansIn(request) - 1, rejectedSpans: 1, rejectedMessage };
    };
    const { code, summary } = await load(receiver, protocol);
    expect(code).toBe(1);
    const [whole] = receiver.sink.requests;
    expect(summary.rejectedSpans).toBe(spansIn(whole) + summary.sentRequests - 1);
    expect(summary.acknowledgedSpans).toBe(summary.sentSpans - summary.rejectedSpans);
    expect(Object.values(summary.refusedRequests)).toEqual([1]);
    expect(receiver.sink.requests).toHaveLength(summary.sentRequests);
  });

  test("gives up if no server responds for too long", async () => {
    const receiver = await startReceiver();
    await receiver[Symbol.asyncDispose]();
    const args = ["--duration", "300ms", "--drain", "200ms", "--in-flight", "2"];
    const { code, summary } = await load(receiver, protocol, args);
    expect(code).toBe(1);
    expect(summary.givenUpSpans).toBe(summary.sentSpans);
    expect(summary.refusedRequests.connection).toBeGreaterThanOrEqual(2);
  });
});

test("keeps its rate, and stops generating after its time", async () => {
  await using receiver = await startReceiver();
  const args = ["--traces", "1000000", "--spans-per-second", "3000", "--duration", "1s"];
  args.push("--seed", "9");
  const { summary } = await load(receiver, "http", args);
  // Requests are sent whole, and incomplete ones at the end.
  expect(summary.sentSpans).toBeGreaterThan(300);
  expect(summary.sentSpans).toBeLessThan(9000);
});

test.each([
  [["--protocol", "udp"], "neither http nor grpc"],
  [["--endpoint", "ftp://localhost:4318"], "is not like"],
  [["--spans-per-second", "-1"], "is not a number from 0 on"],
  [["--traces", "0"], "is not a number from 1 on"],
  [["--duration", "30"], "a unit is missing"],
  [["more"], "unexpected argument"],
])("refuses %j", async (args, message) => {
  const io = recordIo();
  expect(await runCli(["load", ...args], io)).toBe(2);
  expect(io.stderr).toContain(message);
});
