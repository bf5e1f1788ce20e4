/** Every port serves the routes of its table, to clients with the declared right. */
import { connect } from "node:http2";
import { once } from "node:events";
import { expect, test } from "vitest";
import type { RunningSpoor } from "#cmd/spoor/modules.ts";
import type { Served } from "#cmd/spoor/served.ts";
import { withSpoorHere } from "#integration/parts/spoor-here.ts";
import { adminToken, asAdmin } from "#integration/parts/spoor.ts";
import { frameMessage } from "#pkg/grpc/frame.ts";

const config = `server: {multitenancy: true, admin_token: ${adminToken}}\n`;
type Headers = Readonly<Record<string, string>>;

function nameOf(one: Served): string {
  const what =
    one.protocol === "http" ? `${one.method} ${one.path}` : `${one.service}/${one.method}`;
  return `${one.port} ${what}`;
}

/** Status for a client without credentials: 401 or 16 is "unauthenticated". */
async function ask(spoor: RunningSpoor, one: Served, headers: Headers = {}): Promise<string> {
  if (one.protocol === "grpc") {
    return await call(spoor.otlpGrpcPort, `/${one.service}/${one.method}`, headers);
  }
  const port = one.port === "api" ? spoor.httpPort : spoor.otlpHttpPort;
  // A profile of zero seconds is refused after the access check.
  const path = one.path.replace(/:\w+/, "1f").replace("*", "service.name/values");
  const response = await fetch(`http://127.0.0.1:${port}${path}?seconds=0`, {
    method: one.method === "post" ? "POST" : "GET",
    headers: { "content-type": "application/x-protobuf", ...headers },
    signal: AbortSignal.timeout(30_000),
  });
  await response.arrayBuffer();
  return String(response.status);
}

async function call(port: number, path: string, headers: Headers): Promise<string> {
  const session = connect(`http://127.0.0.1:${port}`);
  try {
    const base = { ":method": "POST", "content-type": "application/grpc", te: "trailers" };
    const stream = session.request({ ...base, ":path": path, ...headers });
    stream.end(frameMessage(new Uint8Array()));
    const [answer] = (await once(stream, "response")) as [Record<string, string>];
    // Only an error has its status in the first headers.
    return answer["grpc-status"] ?? "0";
  } finally {
    session.destroy();
  }
}

test("what all ports serve is one listing, and each of it asks for its right", async () => {
  await withSpoorHere(config, async (spoor) => {
    const { served } = spoor;
    const names = served.map(nameOf);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toEqual(
      expect.arrayContaining([
        "api any /api/search",
        "api get /metrics",
        "otlp_http post /v1/traces",
        "otlp_grpc opentelemetry.proto.collector.trace.v1.TraceService/Export",
        "otlp_grpc grpc.health.v1.Health/Check",
        "otlp_grpc grpc.health.v1.Health/Watch",
      ]),
    );
    for (const one of served) {
      const name = nameOf(one);
      expect(one.right, name).toMatch(/^(open|read|write|operate|admin)$/);
      const types = one.protocol === "http" ? one.answers : [one.request, one.answer];
      expect(types.length, name).toBeGreaterThan(0);
      const refused = one.protocol === "http" ? "401" : "16";
      const unknown = one.protocol === "http" ? "404" : "12";
      const asNobody = await ask(spoor, one);
      expect(asNobody === refused, `${name} for nobody`).toBe(one.right !== "open");
      expect(asNobody, name).not.toBe(unknown);
      const asTenant = await ask(spoor, one, { "x-scope-orgid": "shop" });
      const isForTenants = ["open", "read", "write"].includes(one.right);
      expect(asTenant === refused, `${name} for a tenant`).toBe(!isForTenants);
    }
  });
});

test("what no table declares is not there, also for the operator", async () => {
  await withSpoorHere(config, async (spoor) => {
    const facts = { right: "open", params: [], answers: [] } as const;
    for (const port of ["api", "otlp_http"] as const) {
      for (const path of ["/debug", "/v1/metrics", "/admin", "/api"]) {
        const route = { port, protocol: "http", method: "get", path, ...facts } as const;
        expect(await ask(spoor, route, asAdmin), `${port} ${path}`).toBe("404");
      }
    }
    for (const path of ["/grpc.health.v1.Health/List", "/grpc.reflection.v1.ServerReflection/X"]) {
      expect(await call(spoor.otlpGrpcPort, path, asAdmin), path).toBe("12");
    }
  });
});
