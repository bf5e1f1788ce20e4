import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { demoTrace, exportPath, openSocket, sendHttp } from "./client.testing.ts";
import { frameMessage } from "#pkg/grpc/frame.ts";
import { startReceiver, type TestReceiver } from "./receiver.testing.ts";

/** Values of X-Scope-OrgID, each in a header of its own, and what becomes of them. */
const cases: [values: string[], code: number, grpcStatus: string, reason: string][] = [
  [[], 401, "16", "no_tenant"],
  [[""], 401, "16", "no_tenant"],
  [["a", "b"], 400, "3", "invalid_tenant"],
  [["a,a"], 400, "3", "invalid_tenant"],
  [["_spoor"], 400, "3", "invalid_tenant"],
  [[".."], 400, "3", "invalid_tenant"],
  [["a/b"], 400, "3", "invalid_tenant"],
  [["a|b"], 400, "3", "invalid_tenant"],
  [["x".repeat(151)], 400, "3", "invalid_tenant"],
];

describe("with multi-tenancy", () => {
  let receiver: TestReceiver;
  let session: ClientHttp2Session;
  beforeAll(async () => {
    receiver = await startReceiver({}, { multiTenancy: true });
    session = connect(`http://127.0.0.1:${receiver.grpcPort}`);
  });
  afterAll(async () => {
    session.destroy();
    await receiver[Symbol.asyncDispose]();
  });

  /** Resolves with the status of a call whose tenant is named by these values. */
  function callAs(values: readonly string[]): Promise<string> {
    const headers = [
      [":method", "POST", ":path", exportPath, ":scheme", "http", ":authority", "x"],
      ["content-type", "application/grpc", "te", "trailers"],
      values.flatMap((value) => ["x-scope-orgid", value]),
    ].flat();
    return new Promise((resolve, reject) => {
      const stream = session.request(headers as never);
      let status = "";
      for (const event of ["response", "trailers"]) {
        stream.on(event, (got: Record<string, string>) => (status = got["grpc-status"] ?? status));
      }
      stream.on("error", reject);
      stream.on("close", () => resolve(status));
      stream.resume();
      stream.end(frameMessage(demoTrace));
    });
  }

  test.each([[["team-a"]], [["team-a", "team-a"]]])("%j is one tenant", async (values) => {
    const before = receiver.sink.requests.length;
    expect(await callAs(values)).toBe("0");
    const { status } = await sendHttp(receiver.httpPort, { headers: { "x-scope-orgid": values } });
    expect(status).toBe(200);
    const tenants = receiver.sink.requests.slice(before).map(({ tenant }) => tenant);
    expect(tenants).toEqual(["team-a", "team-a"]);
  });

  test.each(cases)(
    "%j is refused in the protocol's own form",
    async (values, code, grpc, reason) => {
      const before = receiver.sink.requests.length;
      const counted = (protocol: string): Promise<number> =>
        receiver.metric(
          "spoor_receivers_refused_requests_total",
          `protocol="${protocol}",reason="${reason}"`,
        );
      const counts = [await counted("otlp_grpc"), await counted("otlp_http")];
      expect(await callAs(values)).toBe(grpc);
      const headers = { "x-scope-orgid": values, "content-type": "application/json" };
      const answer = await sendHttp(receiver.httpPort, { headers, body: Buffer.from("{}") });
      expect(answer.status).toBe(code);
      expect(JSON.parse(answer.body.toString())).toMatchObject({
        code: Number(grpc),
        details: [{ reason }],
      });
      expect(receiver.sink.requests).toHaveLength(before);
      expect([await counted("otlp_grpc"), await counted("otlp_http")]).toEqual(
        counts.map((count) => count + 1),
      );
    },
  );

  test("over HTTP it is refused before its body arrives, too", async () => {
    const socket = await openSocket(receiver.httpPort);
    const type = "Content-Type: application/x-protobuf";
    socket.write(`POST /v1/traces HTTP/1.1\r\n${type}\r\nContent-Length: 1000000\r\n\r\nabc`);
    const [answer] = (await once(socket, "data")) as [Buffer];
    socket.destroy();
    expect(answer.toString("latin1")).toMatch(/^HTTP\/1\.1 401 /);
    expect(await receiver.metric("spoor_receivers_in_flight_requests")).toBe(0);
  });

  test("a refused request gets its response before its body arrives, and holds nothing", async () => {
    const stream = session.request({
      ":method": "POST",
      ":path": exportPath,
      "content-type": "application/grpc",
    });
    const status = await new Promise((resolve) => {
      stream.on("response", (headers) => resolve(headers["grpc-status"]));
    });
    stream.destroy();
    expect(status).toBe("16");
    expect(await receiver.metric("spoor_receivers_in_flight_requests")).toBe(0);
  });
});

test("without multi-tenancy all is one tenant, whatever the header says", async () => {
  await using receiver = await startReceiver();
  const headers = { "x-scope-orgid": ["a", "../b"] };
  expect((await sendHttp(receiver.httpPort, { headers })).status).toBe(200);
  expect(receiver.sink.requests[0].tenant).toBe("single-tenant");
});
