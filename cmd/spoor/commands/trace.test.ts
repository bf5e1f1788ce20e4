import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runCli } from "#cmd/spoor/cli.ts";
import { plain } from "#cmd/spoor/paint.ts";
import { recordIo, type RecordedIo } from "#cmd/spoor/spoor.testing.ts";
import { WireWriter } from "#pkg/bytes/wire-writer.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { writeTraceData } from "#pkg/otlp/encode.ts";
import { parseTraceJson } from "#pkg/otlp/json-decode.ts";
import type { Span, TraceData } from "#pkg/otlp/trace-data.ts";
import { randomTraceData } from "#pkg/otlp/random-otlp.testing.ts";
import { escapeControls } from "./escape.ts";
import { durationText } from "./times.ts";
import { traceLines, type TreeView } from "./trace-text.ts";
import { buildTraceTree, type TraceTree } from "./trace-tree.ts";
import { decodeAnswer } from "./trace.ts";

const traceId = "0af7651916cd43dd8448eb211c80319c";
const startNanos = 1_767_261_600_000_000_000n;
const ms = 1_000_000n;

interface SpanSketch {
  id: number;
  parent?: number;
  name?: string;
  service?: string;
  kind?: number;
  /** Milliseconds from the trace's start. */
  at?: number;
  forMs?: number;
  status?: { code: number; message: string };
  start?: bigint;
  end?: bigint;
}

function idBytes(id: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(id));
  return bytes;
}

function spanOf(sketch: SpanSketch): Span {
  const start = sketch.start ?? startNanos + BigInt(sketch.at ?? 0) * ms;
  return {
    traceId: Buffer.from(traceId, "hex"),
    spanId: idBytes(sketch.id),
    traceState: "",
    parentSpanId: sketch.parent === undefined ? new Uint8Array() : idBytes(sketch.parent),
    name: sketch.name ?? `span ${String(sketch.id)}`,
    kind: sketch.kind ?? 0,
    startTimeUnixNano: start,
    endTimeUnixNano: sketch.end ?? start + BigInt(sketch.forMs ?? 10) * ms,
    attributes: [],
    droppedAttributesCount: 0,
    events: [],
    droppedEventsCount: 0,
    links: [],
    droppedLinksCount: 0,
    status: sketch.status ?? { code: 0, message: "" },
    flags: 0,
  };
}

function traceOf(sketches: SpanSketch[]): TraceData {
  return {
    resourceSpans: sketches.map((sketch) => ({
      resource: {
        attributes: [
          { key: "service.name", value: { kind: "string", value: sketch.service ?? "shop" } },
        ],
        droppedAttributesCount: 0,
        entityRefs: [],
      },
      scopeSpans: [
        {
          scope: { name: "", version: "", attributes: [], droppedAttributesCount: 0 },
          spans: [spanOf(sketch)],
          schemaUrl: "",
        },
      ],
      schemaUrl: "",
    })),
  };
}

const view: TreeView = {
  traceId,
  isVerbose: false,
  onlyErrors: false,
  depthMax: Number.POSITIVE_INFINITY,
  paint: plain,
};

function linesOf(sketches: SpanSketch[]): string[] {
  return [...traceLines(buildTraceTree(traceOf(sketches)), view)];
}

/** The text right of the times and bars. */
function treesOf(sketches: SpanSketch[]): string[] {
  return linesOf(sketches)
    .slice(2)
    .map((line) => line.slice(42));
}

function answerOf(trace: TraceData, partial?: string): Uint8Array {
  const writer = new WireWriter(64 * 1024);
  writer.message(1, (w) => writeTraceData(w, trace));
  writer.message(2, (w) => w.uint(1, 12));
  if (partial !== undefined) {
    writer.uint(3, 1);
    writer.string(4, partial);
  }
  return writer.bytes();
}

describe("views of a tree", () => {
  const failed = { code: 2, message: "no stock" };
  const sketches: SpanSketch[] = [
    { id: 1, name: "top" },
    { id: 2, parent: 1, name: "fine" },
    { id: 3, parent: 2, name: "below fine" },
    { id: 4, parent: 1, name: "way down" },
    { id: 5, parent: 4, name: "broken", status: failed },
  ];
  const shown = (trace: TraceData, some: Partial<TreeView>): string[] =>
    [...traceLines(buildTraceTree(trace), { ...view, ...some })]
      .slice(2)
      .map((line) => line.slice(42).trimEnd());

  test("only errors and their ancestors", () => {
    expect(shown(traceOf(sketches), { onlyErrors: true })).toEqual([
      "shop · top",
      "└─ shop · way down",
      "   └─ shop · broken  ERROR: no stock",
    ]);
    const lines = [
      ...traceLines(buildTraceTree(traceOf([{ id: 1 }])), { ...view, onlyErrors: true }),
    ];
    expect(lines.at(-1)).toBe("no span failed");
  });

  test("down to a depth", () => {
    expect(shown(traceOf(sketches), { depthMax: 2 })).toEqual([
      "shop · top",
      "├─ shop · fine",
      "└─ shop · way down",
      "(2 deeper spans not shown)",
    ]);
  });

  test("attributes, events and links, safe for a terminal", () => {
    const trace = traceOf([{ id: 1, name: "top" }]);
    const [span] = trace.resourceSpans[0].scopeSpans[0].spans;
    span.attributes = [
      { key: "user\u001b", value: { kind: "string", value: "a\nb" } },
      { key: "n", value: { kind: "int", value: 5n } },
      { key: "list", value: { kind: "array", values: [{ kind: "bool", value: true }] } },
    ];
    span.events = [
      {
        timeUnixNano: startNanos + 2n * ms,
        name: "exception",
        attributes: [{ key: "exception.type", value: { kind: "string", value: "Timeout" } }],
        droppedAttributesCount: 0,
      },
    ];
    expect(shown(trace, { isVerbose: true })).toEqual([
      "shop · top",
      "  user\\u{1b} = a\\u{a}b",
      "  n = 5",
      '  list = {"arrayValue":{"values":[{"boolValue":true}]}}',
      "  event +2ms exception",
      "    exception.type = Timeout",
    ]);
  });
});

interface Run {
  exitCode: number;
  io: RecordedIo;
  requests: IncomingMessage[];
}

/** Runs `spoor trace` against a real server. */
async function runAgainst(listener: RequestListener, args: string[]): Promise<Run> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    listener(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const io = recordIo();
    const { port } = server.address() as AddressInfo;
    const endpoint = `http://127.0.0.1:${String(port)}`;
    const exitCode = await runCli(["trace", "--endpoint", endpoint, ...args], io);
    return { exitCode, io, requests };
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

function protobuf(bytes: Uint8Array, status = 200): RequestListener {
  return (_, response) => {
    response.writeHead(status, { "content-type": "application/protobuf" });
    response.end(bytes);
  };
}

const shop: SpanSketch[] = [
  { id: 3, parent: 2, name: "GET /items", service: "stock", kind: 2, at: 3, forMs: 5 },
  { id: 2, parent: 1, name: "call stock", kind: 3, at: 2, forMs: 8 },
  {
    id: 1,
    name: "GET /cart",
    kind: 2,
    forMs: 20,
    status: { code: 2, message: "no stock" },
  },
  { id: 4, parent: 1, name: "render", kind: 1, at: 12, forMs: 1, status: { code: 1, message: "" } },
];

describe("spoor trace", () => {
  test("prints what the server sent", async () => {
    const { exitCode, io, requests } = await runAgainst(protobuf(answerOf(traceOf(shop))), [
      traceId.toUpperCase(),
      "--tenant",
      "team-a",
    ]);
    expect(io.stderr).toBe("");
    expect(exitCode).toBe(0);
    expect(requests[0].url).toBe(`/api/v2/traces/${traceId}`);
    expect(requests[0].headers).toMatchObject({
      accept: "application/protobuf",
      "x-scope-orgid": "team-a",
    });
    expect(io.stdout).toBe(
      `trace ${traceId}: 4 spans, 2 services, 20ms, 2026-01-01T10:00:00.000Z

     +0ns     20ms  ████████████████████  shop · GET /cart  [server] ERROR: no stock
     +2ms      8ms    ████████            ├─ shop · call stock  [client]
     +3ms      5ms     █████              │  └─ stock · GET /items  [server]
    +12ms      1ms              █         └─ shop · render  [internal] ok
`,
    );
  });

  test("prints what a real client sent", async () => {
    const capture = readFileSync(
      new URL("../../../testdata/captures/otel-proto.01.bin", import.meta.url),
    );
    const trace = decodeTraceData(capture);
    const { exitCode, io } = await runAgainst(protobuf(answerOf(trace)), ["1"]);
    expect(exitCode).toBe(0);
    const names = trace.resourceSpans.flatMap((r) =>
      r.scopeSpans.flatMap((s) => s.spans.map((span) => span.name)),
    );
    expect(names).toHaveLength(3);
    for (const name of names) expect(io.stdout.split(` · ${name}`)).toHaveLength(2);
    expect(io.stdout).toContain("3 spans, 1 service,");
    expect(io.stdout).not.toContain("missing");
  });

  test("--json is OTLP/JSON that reads back to the same trace", async () => {
    const trace = traceOf(shop);
    const { exitCode, io } = await runAgainst(protobuf(answerOf(trace)), [traceId, "--json"]);
    expect(exitCode).toBe(0);
    expect(parseTraceJson(Buffer.from(io.stdout))).toEqual(decodeAnswer(answerOf(trace)).trace);
  });

  test("warns of a partial trace, on stderr", async () => {
    const answer = answerOf(traceOf(shop), "a block \u001b[2J could not be read");
    const { exitCode, io } = await runAgainst(protobuf(answer), [traceId]);
    expect(exitCode).toBe(0);
    expect(io.stdout).toContain("4 spans");
    expect(io.stderr).toBe(
      "spoor: warning: the trace may not be complete: a block \\u{1b}[2J could not be read\n",
    );
  });

  test("not found: 404, or Tempo's empty answer", async () => {
    const answers = [
      protobuf(Buffer.from("trace not found"), 404),
      protobuf(answerOf({ resourceSpans: [] })),
      protobuf(new Uint8Array()),
    ];
    for (const answer of answers) {
      const { exitCode, io } = await runAgainst(answer, ["abc"]);
      expect(exitCode).toBe(1);
      expect(io.stdout).toBe("");
      expect(io.stderr).toMatch(
        /^spoor: trace 0{29}abc was not found at http:\/\/127.0.0.1:\d+\/\n$/,
      );
    }
  });

  test("other answers are errors in one line", async () => {
    const cases: [answer: RequestListener, message: string][] = [
      [protobuf(Buffer.from("no org id\n"), 401), "answered 401: no org id (--tenant names"],
      [protobuf(Buffer.from("\u001b]0;x\u0007busy"), 503), "answered 503: \\u{1b}]0;x\\u{7}busy"],
      [protobuf(Buffer.alloc(100_000, "x"), 500), "answered 500"],
      [(_, response) => response.end("<html>"), "instead of protobuf: is this the query API"],
      [(_, response) => response.destroy(), "get http://127.0.0.1"],
      [protobuf(Buffer.from([0x0a, 0x05, 0x0a])), "truncated"],
      [
        (_, response) => response.writeHead(302, { location: "http://127.0.0.1:1/" }).end(),
        "get http://127.0.0.1",
      ],
    ];
    for (const [answer, message] of cases) {
      const { exitCode, io } = await runAgainst(answer, [traceId]);
      expect(exitCode, message).toBe(1);
      expect(io.stdout).toBe("");
      expect(io.stderr).toContain(message);
      expect(io.stderr.trimEnd().split("\n")).toHaveLength(1);
    }
  });

  test("no server at the endpoint", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    const io = recordIo();
    const endpoint = `http://127.0.0.1:${String(port)}`;
    expect(await runCli(["trace", traceId, "--endpoint", endpoint], io)).toBe(1);
    expect(io.stderr).toContain("ECONNREFUSED");
    expect(io.stderr).toContain("is `spoor serve` running there?");
  });

  test("a base path of the endpoint is kept", async () => {
    const server = createServer((request, response) => response.writeHead(404).end(request.url));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const io = recordIo();
    const endpoint = `http://127.0.0.1:${String(port)}/tempo`;
    await runCli(["trace", traceId, "--endpoint", endpoint], io);
    server.closeAllConnections();
    server.close();
    expect(io.stderr).toContain(`at ${endpoint}/`);
  });

  test("wrong arguments", async () => {
    const cases: [args: string[], message: string][] = [
      [[], "the id is missing"],
      [["xyz"], '"xyz" is not a trace id'],
      [["0".repeat(33)], "is not a trace id"],
      [["a", "b"], 'unexpected argument "b"'],
      [["a", "--endpoint", "ftp://x"], "--endpoint"],
      [["a", "--depth", "0"], "--depth"],
      [["a", "--tenant", "_x"], '"_x" is not a valid tenant name'],
      [["a", "--jsn"], "unknown flag --jsn; did you mean --json?"],
      [["a", "--json=1"], "--json takes no value"],
      [["a", "--tenant"], "--tenant needs a value: --tenant NAME"],
    ];
    for (const [args, message] of cases) {
      const io = recordIo();
      expect(await runCli(["trace", ...args], io), message).toBe(2);
      expect(io.stderr).toContain(message);
    }
  });
});

describe("the tree", () => {
  test("several roots and orphans: roots first", () => {
    expect(
      treesOf([
        { id: 9, parent: 8, at: 0 },
        { id: 2, at: 5 },
        { id: 1, at: 1 },
        { id: 3, parent: 9, at: 2 },
      ]),
    ).toEqual([
      "shop · span 1",
      "shop · span 2",
      "shop · span 9  (parent 0000000000000008 is missing)",
      "└─ shop · span 3",
    ]);
  });

  test("cycles are cut at their earliest span and keep their subtrees", () => {
    expect(
      treesOf([
        { id: 1, parent: 3, at: 7 },
        { id: 2, parent: 1, at: 3 },
        { id: 3, parent: 2, at: 5 },
        { id: 4, parent: 3, at: 0 },
        { id: 5, parent: 5, at: 1 },
      ]),
    ).toEqual([
      "shop · span 5  (parent 0000000000000005 is below it)",
      "shop · span 2  (parent 0000000000000001 is below it)",
      "└─ shop · span 3",
      "   ├─ shop · span 4  (starts 5ms before its parent)",
      "   └─ shop · span 1",
    ]);
  });

  test("an id that is used twice", () => {
    expect(
      treesOf([
        { id: 1, name: "client", kind: 3 },
        { id: 1, parent: 1, name: "server", kind: 2, at: 1 },
        { id: 2, parent: 1, name: "below", at: 2 },
      ]),
    ).toEqual(["shop · client  [client]", "├─ shop · server  [server]", "└─ shop · below"]);
  });

  test("an all-zero parent is none", () => {
    expect(treesOf([{ id: 1, parent: 0 }])).toEqual(["shop · span 1"]);
  });

  test("odd times", () => {
    expect(
      linesOf([
        { id: 1, start: startNanos, end: startNanos + 100n * ms },
        { id: 2, parent: 1, start: startNanos - 3n * ms, end: startNanos + ms },
        { id: 3, parent: 1, start: startNanos + 100n * ms, end: startNanos + 100n * ms },
        { id: 4, parent: 1, start: startNanos + 50n * ms, end: startNanos },
        { id: 5, parent: 1, start: startNanos + 60n * ms, end: 0n },
        { id: 6, parent: 1, start: 0n, end: startNanos },
      ]),
    ).toEqual([
      `trace ${traceId}: 6 spans, 1 service, 103ms, 2026-01-01T09:59:59.997Z`,
      "",
      "     +3ms    100ms  ████████████████████  shop · span 1",
      "        -        -                        ├─ shop · span 6  (no start time)",
      "     +0ns      4ms  █                     ├─ shop · span 2  (starts 3ms before its parent)",
      "    +53ms        -            █           ├─ shop · span 4  (ends before it starts)",
      "    +63ms        -              █         ├─ shop · span 5  (no end time)",
      "   +103ms      0ns                     █  └─ shop · span 3",
    ]);
    expect(linesOf([{ id: 1, start: 0n, end: 0n }])[0]).toBe(
      `trace ${traceId}: 1 span, 1 service, 0ns`,
    );
    const last = 2n ** 64n - 1n;
    expect(linesOf([{ id: 1, start: last, end: last }])[0]).toContain("2554-07-21");
  });

  test("30,000 spans in a chain, and beside each other", () => {
    const count = 30_000;
    const chain = Array.from({ length: count }, (_, i) => ({ id: i + 1, parent: i, at: i }));
    const chainLines = linesOf(chain);
    expect(chainLines).toHaveLength(count + 2);
    expect(chainLines.at(-1)).toContain(`…${String(count - 1)} └─ shop · span ${String(count)}`);
    expect(Math.max(...chainLines.map((line) => line.length))).toBeLessThan(250);
    const wide = Array.from({ length: count }, (_, i) => ({ id: i + 1, parent: i === 0 ? 0 : 1 }));
    expect(linesOf(wide)).toHaveLength(count + 2);
    const circle = Array.from({ length: count }, (_, i) => ({
      id: i + 1,
      parent: i === 0 ? count : i,
    }));
    expect(linesOf(circle)).toHaveLength(count + 2);
  });

  test("names cannot control the terminal", () => {
    const evil = "\u001b[31mred\u001b[0m\r\n\u0007\u009b2J\u202egnp.exe\u2028\u200b\ud800";
    const [line] = treesOf([
      { id: 1, name: evil, service: evil, status: { code: 2, message: evil } },
    ]);
    expect(line.match(/\\u\{1b\}\[31mred\\u\{1b\}\[0m\\u\{d\}\\u\{a\}/g)).toHaveLength(3);
    expect(line).toMatch(/^[\x20-\x7e·…]+$/);
    expect(escapeControls("é 日本 👍 ü")).toBe("é 日本 👍 ü");
    expect(treesOf([{ id: 1, name: "x".repeat(10_000) }])[0]).toHaveLength("shop · ".length + 201);
  });

  test("kinds and states without a name", () => {
    expect(treesOf([{ id: 1, kind: -1, status: { code: 7, message: "" }, service: "" }])).toEqual([
      "(no service) · span 1  [kind -1] status 7",
    ]);
    expect(treesOf([{ id: 1, kind: 9, status: { code: 2, message: "" } }])).toEqual([
      "shop · span 1  [kind 9] ERROR",
    ]);
  });

  test("every span of any trace is in the tree once", () => {
    // Few ids, so that parents are found, missing, duplicate and in cycles.
    const sketch = fc.record({
      id: fc.integer({ min: 1, max: 8 }),
      parent: fc.integer({ min: 0, max: 9 }),
      at: fc.nat(5),
    });
    fc.assert(
      fc.property(fc.array(sketch, { maxLength: 14 }), (sketches) => {
        const named = sketches.map((one, i) => ({ ...one, name: `n${String(i)}` }));
        const names = namesOf(buildTraceTree(traceOf(named)));
        expect(names.sort()).toEqual(named.map(({ name }) => name).sort());
      }),
      { numRuns: 1000 },
    );
  });

  test("any trace prints as one line per span, without control characters", () => {
    fc.assert(
      fc.property(randomTraceData, (trace) => {
        const tree = buildTraceTree(trace);
        const lines = [...traceLines(tree, view)];
        expect(lines).toHaveLength(tree.spanCount + 2);
        for (const line of lines) expect(line).not.toMatch(/\p{Cc}/u);
      }),
    );
  });
});

function namesOf(tree: TraceTree): string[] {
  const names: string[] = [];
  const stack = [...tree.tops];
  for (;;) {
    const node = stack.pop();
    if (node === undefined) return names;
    names.push(node.span.name);
    stack.push(...node.children);
  }
}

test("durations", () => {
  const cases: [nanos: bigint, text: string][] = [
    [0n, "0ns"],
    [999n, "999ns"],
    [1000n, "1µs"],
    [12_345n, "12.3µs"],
    [999_999n, "999µs"],
    [1_230_000n, "1.23ms"],
    [999_999_999n, "999ms"],
    [1_000_000_000n, "1s"],
    [59_999_000_000n, "59.9s"],
    [60_000_000_000n, "1m0s"],
    [3_723_000_000_000n, "1h2m3s"],
    [2n ** 64n, "5124095h34m33s"],
  ];
  for (const [nanos, text] of cases) expect(durationText(nanos)).toBe(text);
});

describe("decoding the answer", () => {
  test("in pieces, with unknown fields", () => {
    const [one, two] = [traceOf([{ id: 1 }]), traceOf([{ id: 2 }])];
    const bytes = Buffer.concat([answerOf(one), Buffer.from([0x7a, 1, 0]), answerOf(two, "why")]);
    const answer = decodeAnswer(bytes);
    expect(answer.trace.resourceSpans).toHaveLength(2);
    expect(answer).toMatchObject({ isPartial: true, message: "why" });
  });

  test("cut off anywhere, and random bytes: a trace or InvalidInput", () => {
    const bytes = answerOf(traceOf(shop), "why");
    const inputs = Array.from({ length: bytes.length }, (_, end) => bytes.subarray(0, end));
    let refusedCount = 0;
    const check = (input: Uint8Array): void => {
      try {
        decodeAnswer(input);
      } catch (error) {
        expect(error).toBeInstanceOf(SpoorError);
        expect((error as SpoorError).code).toBe("InvalidInput");
        refusedCount++;
      }
    };
    for (const input of inputs) check(input);
    // A cut between its four fields cannot be detected.
    expect(refusedCount).toBe(inputs.length - 4);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), check));
  });
});
