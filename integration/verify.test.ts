/** `spoor verify` against the real server, directly and through a proxy that changes responses. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { runCli } from "#cmd/spoor/cli.ts";
import { recordIo, type RecordedIo } from "#cmd/spoor/spoor.testing.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import { type SpoorProcess, startSpoorProcess } from "#integration/parts/spoor.ts";

interface ProxyAnswer {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

const waiting = { timeout: 30_000, interval: 50 };

/** Changes the response to a request for `path`. */
type Spoil = (answer: ProxyAnswer, path: string) => void;

/** Starts a proxy that forwards responses, changed or unchanged. */
class Proxy implements AsyncDisposable {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(spoil: Spoil): Promise<Proxy> {
    const server = createServer((request, response) => {
      void (async () => {
        const path = request.url ?? "/";
        const accept = request.headers.accept ?? "*/*";
        const real = await fetch(`${spoor.address}${path}`, { headers: { accept } });
        const answer: ProxyAnswer = {
          status: real.status,
          headers: { "content-type": real.headers.get("content-type") ?? "" },
          body: Buffer.from(await real.arrayBuffer()),
        };
        spoil(answer, path);
        response.writeHead(answer.status, answer.headers).end(answer.body);
      })();
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Proxy(server);
  }

  get address(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

let dir: string;
let spoor: SpoorProcess;
/** Seeds differ, since concurrent runs of one seed would write equal traces. */
let seed = 77;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "spoor-verify-"));
  const config =
    "span_log: {free_bytes_min: 1MiB, partition_count: 2}\n" +
    "querier: {threads: 1}\ningester: {cut_spans: 200, cut_age: 2s}\n";
  spoor = await startSpoorProcess({ dataDir: join(dir, "data"), config });
  await spoor.ready();
});

afterAll(async () => {
  await spoor.kill();
  await rm(dir, { recursive: true, force: true });
});

async function verify(args: readonly string[], query: string = spoor.address): Promise<VerifyRun> {
  const io = recordIo();
  const places = ["--endpoint", spoor.otlpHttp, "--query-endpoint", query];
  const code = await runCli(["verify", ...places, "--seed", String(seed++), ...args], io);
  return { code, io };
}

interface VerifyRun {
  code: number;
  io: RecordedIo;
}

// These tests run side by side, since most of their time is waiting for traces to be old enough.
describe.concurrent("a server that works is found to be right", () => {
  test("over HTTP, at several ages", async () => {
    const { code, io } = await verify(["--duration", "11s", "--interval", "250ms"]);
    expect(io.stderr).toBe("");
    expect(code).toBe(0);
    const [, written, checks] = /(\d+) traces written, 0 not.*, (\d+) checks, 0/.exec(io.stdout)!;
    expect(Number(written)).toBeGreaterThan(0);
    // By id and by search: all at the end, and those that were old enough before, after 2 s and 10 s.
    expect(Number(checks)).toBeGreaterThan(Number(written) * 2);
  });

  test("over gRPC", async () => {
    const places = ["--protocol", "grpc", "--endpoint", spoor.otlpGrpc];
    const { code, io } = await verify([...places, "--duration", "2s", "--interval", "250ms"]);
    expect(io.stderr).toBe("");
    expect(code).toBe(0);
  });

  test("and metrics tell the same", async () => {
    const args = ["--duration", "4s", "--interval", "250ms", "--metrics", "127.0.0.1:0"];
    const io = recordIo();
    const places = ["--endpoint", spoor.otlpHttp, "--query-endpoint", spoor.address];
    const running = runCli(["verify", ...places, "--seed", "7", ...args], io);
    const urlOf = (): string | undefined => /metrics at (\S+)/.exec(io.stdout)?.[1];
    await vi.waitUntil(urlOf, waiting);
    const text = async (): Promise<string> => await (await fetch(urlOf()!)).text();
    // Metrics are served during the whole run, well beyond the first checks.
    const isChecked = async (): Promise<boolean> =>
      /checks_total\{kind="trace",age="2s"\} \d/.test(await text());
    await vi.waitUntil(isChecked, waiting);
    expect(await text()).toMatch(/spoor_verify_written_traces_total [1-9]/);
    expect(await running).toBe(0);
  });
});

test.concurrent("nothing checked is no success", async () => {
  const nothing = await verify(["--endpoint", "http://127.0.0.1:1", "--duration", "1ms"]);
  expect(nothing.code).toBe(1);
});

describe.concurrent("what is wrong is seen", () => {
  const spoils: [string, Spoil, string][] = [
    [
      "a trace is gone",
      (answer, path) => void (isTrace(path) && (answer.status = 404)),
      "not_found",
    ],
    [
      "an attribute is gone",
      (answer, path) => {
        if (isTrace(path)) {
          answer.body = editTrace(answer.body, (spans) => void spans[0].attributes.pop());
        }
      },
      "missing_spans",
    ],
    [
      "a span comes twice",
      (answer, path) => {
        if (isTrace(path)) answer.body = editTrace(answer.body, (spans) => spans.push(spans[0]));
      },
      "unexpected_spans",
    ],
    [
      "a search finds nothing",
      (answer, path) => {
        if (!isTrace(path)) answer.body = Buffer.from('{"traces":[]}');
      },
      "not_found",
    ],
    [
      "a search counts wrong",
      (answer, path) => {
        if (isTrace(path)) return;
        answer.body = Buffer.from(answer.body.toString().replaceAll('"matched":', '"matched":1'));
      },
      "wrong_result",
    ],
    [
      "a search stays partial",
      (answer, path) => void (isTrace(path) || (answer.headers["x-spoor-partial"] = "some block")),
      "partial",
    ],
    ["the API is down", (answer) => void (answer.status = 503), "request_failed"],
  ];

  test.for(spoils)("%s", async ([, change, reason], { expect: expectHere }) => {
    await using proxy = await Proxy.start(change);
    // Few traces: a partial response and a failed request are retried for some seconds. More than
    // one trace, since the second half of the first may not arrive in time. A busy machine may
    // write none in this time: then retry.
    const args = ["--duration", "1s", "--interval", "300ms"];
    let { code, io } = await verify(args, proxy.address);
    while (/^0 traces written/m.test(io.stdout)) ({ code, io } = await verify(args, proxy.address));
    expectHere(code).toBe(1);
    expectHere(io.stderr).toContain(`: ${reason}: `);
  });
});

function isTrace(path: string): boolean {
  return path.startsWith("/api/v2/traces/");
}

type Spans = ReturnType<typeof decodeTraceData>["resourceSpans"][0]["scopeSpans"][0]["spans"];

/** Changes the first spans of a TraceByIDResponse (trace = 1, then an empty metrics = 2). */
function editTrace(body: Buffer, edit: (spans: Spans) => void): Buffer {
  const reader = body;
  let at = 1;
  let shift = 0;
  let length = 0;
  for (; reader[at] >= 0x80; at++, shift += 7) length |= (reader[at] & 0x7f) << shift;
  length |= reader[at++] << shift;
  const trace = decodeTraceData(body.subarray(at, at + length));
  edit(trace.resourceSpans[0].scopeSpans[0].spans);
  const edited = encodeTraceData(trace);
  const head = [0x0a];
  let rest = edited.length;
  for (; rest >= 0x80; rest >>>= 7) head.push((rest & 0x7f) | 0x80);
  head.push(rest);
  return Buffer.concat([Buffer.from(head), edited]);
}
