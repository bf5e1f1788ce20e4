import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, test } from "vitest";
import { runCli } from "#cmd/spoor/cli.ts";
import { recordIo, type RecordedIo } from "#cmd/spoor/spoor.testing.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import { queryCommand } from "./query.ts";

interface Run {
  exitCode: number;
  io: RecordedIo;
  urls: URL[];
}

const nowMs = (): number => 1_767_261_600_500;
const clock: Clock = { nowMs, monotonicMs: nowMs, sleep: () => Promise.resolve() };

/** Runs `spoor query` against a real server. */
async function runAgainst(
  listener: RequestListener,
  args: string[],
  run: (all: string[], io: RecordedIo) => Promise<number> = async (all, io) =>
    await runCli(["query", ...all], io),
): Promise<Run> {
  const urls: URL[] = [];
  const server = createServer((request, response) => {
    urls.push(new URL(request.url ?? "", "http://server"));
    listener(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const io = recordIo();
    const { port } = server.address() as AddressInfo;
    const exitCode = await run(["--endpoint", `http://127.0.0.1:${String(port)}`, ...args], io);
    return { exitCode, io, urls };
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

function json(body: unknown, headers: Record<string, string> = {}): RequestListener {
  return (_, response) => {
    response.writeHead(200, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  };
}

const answer = {
  traces: [
    {
      traceID: "0af7651916cd43dd8448eb211c80319c",
      rootServiceName: "shop",
      rootTraceName: "GET /cart\u001b[31m",
      startTimeUnixNano: "1767261600000000000",
      durationMs: 1234,
      serviceStats: { shop: { spanCount: 4, errorCount: 1 }, db: { spanCount: 9, errorCount: 2 } },
      spanSets: [
        {
          spans: [
            {
              spanID: "a1b2",
              name: "call\u001b",
              durationNanos: "1500000",
              attributes: [{ key: "http.status_code", value: { intValue: "503" } }],
            },
          ],
          matched: 2,
        },
      ],
    },
    { traceID: "1", spanSets: [{ matched: 1 }] },
  ],
  metrics: {},
};

const explanation = {
  query: '{ traceDuration > 1s && name = "a\u001b" }',
  startTimeUnixNano: "1767261600000000000",
  endTimeUnixNano: "1767265200000000000",
  limit: 20,
  conditions: ["traceDuration > 1s", 'name = "a"'],
  columns: ["trace_id", "name"],
  wholeTraces: true,
  spanPart: 'name = "a"',
  traceValues: ["traceDuration"],
  canFail: false,
  plan: {
    storedBlocks: 9,
    heads: 1,
    rowGroups: 12,
    askedShards: 10,
    prunedShards: 7,
    excludedShards: 1,
    jobs: 4,
    askedMs: 7.5,
  },
  metrics: {
    totalBlocks: 3,
    totalBlockBytes: "1000",
    inspectedBytes: "25",
    inspectedSpans: "77",
    inspectedTraces: 5,
  },
  traces: 2,
  failures: ["block x: gone"],
  elapsedMs: 12.5,
};

describe("spoor query", () => {
  test("explains a search", async () => {
    const { exitCode, io, urls } = await runAgainst(json(explanation), ["{ }", "--explain"]);
    expect([exitCode, io.stderr]).toEqual([0, ""]);
    expect(urls[0].pathname).toBe("/api/search/explain");
    expect(io.stdout.split("\n")).toEqual([
      'query        { traceDuration > 1s && name = "a\\u{1b}" }',
      "range        2026-01-01T10:00:00.000Z to 2026-01-01T11:00:00.000Z",
      "conditions   traceDuration > 1s",
      '             name = "a"',
      "columns      trace_id, name",
      'spans        filtered by name = "a" first',
      "traces       then filtered by traceDuration, joined first if stored in several parts",
      "blocks       3 of 9 overlap the range",
      "shards       1 heads and 12 row groups overlap it",
      "             1 cannot hold the trace, 2 cannot change the result",
      "             10 asked, 7 of them skipped by their index",
      "             4 jobs for trace lists and details, 7.5 ms in total",
      "read         25 bytes, 2.50 % of the blocks in the range",
      "inspected    77 spans, 5 traces",
      "found        2 traces in 12.5 ms",
      "unreadable   block x: gone",
      "",
    ]);
    const wrong = await runAgainst(json({}), ["{ }", "--explain"]);
    expect(wrong.exitCode).not.toBe(0);
    expect(wrong.io.stderr).toContain("does not explain a search");
  });

  test("prints one trace per line", async () => {
    const { exitCode, io, urls } = await runAgainst(json(answer), ['{ name = "a b" }']);
    expect(io.stderr).toBe("");
    expect(exitCode).toBe(0);
    expect(io.stdout.split("\n")).toEqual([
      "2026-01-01T10:00:00.000Z     1.23s   3 err  0af7651916cd43dd8448eb211c80319c  " +
        "shop · GET /cart\\u{1b}[31m  (2 spans match)",
      "1970-01-01T00:00:00.000Z      <1ms          00000000000000000000000000000001   ·   " +
        "(1 span matches)",
      "",
    ]);
    expect(urls.map(({ pathname }) => pathname)).toEqual(["/api/search"]);
    expect([...urls[0].searchParams]).toEqual([
      ["q", '{ name = "a b" }'],
      ["limit", "20"],
    ]);
  });

  test("prints the spans that match, in colours on a terminal", async () => {
    const { io } = await runAgainst(json(answer), ["{ }", "-s"]);
    expect(io.stdout.split("\n").slice(1, 3)).toEqual([
      "  000000000000a1b2     1.5ms  call\\u{1b}  http.status_code=503",
      "  and 1 more",
    ]);
    const painted = await runAgainst(json(answer), ["{ }"], async (all, io) => {
      io.isTerminal = true;
      return await runCli(["query", ...all], io);
    });
    expect(painted.io.stdout).toContain("\u001b[31m  3 err\u001b[0m");
  });

  test("says when there may be more, when there is nothing, and when something is missing", async () => {
    const full = await runAgainst(json(answer), ["{}", "--limit", "2"]);
    expect(full.io.stderr).toBe("these are the newest 2 traces; for more, raise --limit\n");
    const none = await runAgainst(json({ metrics: {} }, { "x-spoor-partial": "block b" }), ["{}"]);
    expect(none.exitCode).toBe(0);
    expect(none.io.stdout).toBe("");
    expect(none.io.stderr).toBe(
      "spoor: warning: the result is partial: block b\n" +
        "no trace in the range has a matching span\n",
    );
  });

  test("--json prints the answer as it is", async () => {
    const { io } = await runAgainst(json(answer), ["{}", "--json"]);
    expect(JSON.parse(io.stdout)).toEqual(answer);
  });

  test.each([
    [[], undefined, undefined],
    [["--since", "1h"], "1767258000", "1767261601"],
    [["--start", "1767261000"], "1767261000", "1767261601"],
    [
      ["--start", "2026-01-01T10:00:00.9Z", "--end", "2026-01-01T11:00:00.1+01:00"],
      "1767261600",
      "1767261601",
    ],
    [["--start", "2026-01-01", "--end", "2026-01-01T10:00:00.1Z"], "1767225600", "1767261601"],
  ])("with %j it asks for the seconds from %s to %s", async (flags, start, end) => {
    const run: typeof runCli = async (args, io) => await queryCommand([...args], io, clock);
    const { urls } = await runAgainst(json(answer), ["{}", ...flags], run);
    const { searchParams } = urls[0];
    expect([searchParams.get("start") ?? undefined, searchParams.get("end") ?? undefined]).toEqual([
      start,
      end,
    ]);
  });

  test.each([
    [[], "query: the query is missing"],
    [["{", "}"], 'unexpected argument "}": write the query in quotes'],
    [["{}", "-s", "2"], "-s, --spans takes no number, got 2"],
    [["--spans", "2", "{}"], "-s, --spans takes no number, got 2"],
    [["{}", "--limit", "0"], '--limit "0" is not a number from 1 on'],
    [["{}", "--limit", "x"], '--limit "x" is not a number from 1 on'],
    [["{}", "--since", "1"], "--since: "],
    [["{}", "--since", "0s"], '--since "0s" must be more than 0'],
    [["{}", "--since", "1h", "--end", "5"], "--since cannot be combined with --start or --end"],
    [["{}", "--end", "5"], "--end needs --start"],
    [["{}", "--start", "yesterday"], '--start "yesterday" is not like 2026-01-31T10:00:00Z'],
    [["{}", "--start", "5", "--end", "5"], "--start 5 is not before the end"],
    [["{}", "--tenant", "a/b"], `"a/b" is not a valid tenant name`],
  ])("refuses %j", async (args, message) => {
    const io = recordIo();
    expect(await runCli(["query", ...args], io)).toBe(2);
    expect(io.stderr).toContain(`spoor: ${message}`);
  });

  test("passes on what the server does not understand", async () => {
    const text = "invalid TraceQL query: parse error at line 1, col 3: unknown identifier";
    const { exitCode, io } = await runAgainst(
      (_, response) => {
        response.writeHead(400, { "content-type": "text/plain" });
        response.end(text);
      },
      ["{ x }"],
    );
    expect(exitCode).toBe(1);
    expect(io.stderr).toContain(`answered 400: ${text}`);
    expect(io.stderr).not.toContain("q=");
  });

  test.each([["[]"], ["{"], ['{"traces":[{"traceID":"\\u001b"}]}']])(
    "does not print an answer like %j",
    async (body) => {
      const { exitCode, io } = await runAgainst(
        (_, response) => {
          response.writeHead(200, { "content-type": "application/json" });
          response.end(body);
        },
        ["{}"],
      );
      expect([exitCode, io.stdout]).toEqual([1, ""]);
      expect(io.stderr).toBe("spoor: the response is not a search result\n");
    },
  );
});
