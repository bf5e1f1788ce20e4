/** The port of `spoor verify --metrics`: serves `/metrics` only. */
import {
  findRoute,
  HttpListener,
  type Listener,
  type ListenAddress,
  type RouteFacts,
} from "#pkg/listen/listen.ts";
import type { CommandIo } from "#cmd/spoor/io.ts";
import type { VerifyMetrics } from "./metrics.ts";

const text = "text/plain; charset=utf-8";
const routes: readonly RouteFacts[] = [
  { path: "/metrics", method: "get", right: "open", params: [], answers: [text] },
];

/** Limits of the port. It has few clients, so they only stop unexpected ones. */
const bounds = {
  connectionsMax: 100,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  idleTimeoutMs: 60_000,
};

/** Serves the metrics on `address` and prints the URL on stdout. Throws Unavailable (`listen`). */
export async function serveMetrics(
  { registry }: VerifyMetrics,
  address: ListenAddress,
  io: CommandIo,
): Promise<Listener> {
  const server = new HttpListener({
    ...bounds,
    address,
    handle: async (req, res) => {
      const route = findRoute(routes, req);
      if ("path" in route) {
        const metrics = await registry.metrics();
        res.writeHead(200, { "Content-Type": registry.contentType }).end(metrics);
      } else res.writeHead(route.httpStatus, route.headers).end();
    },
    noteRefused: ({ peer, message }) => io.err(`metrics: refused ${peer}: ${message}\n`),
    noteUnanswered: (thrown) => io.err(`metrics: ${String(thrown)}\n`),
    answerUnreadable: ({ httpStatus, message }) => ({
      httpStatus,
      contentType: text,
      body: `${message}\n`,
    }),
  });
  const port = await server.start();
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  await io.out(`metrics at http://${host}:${port}/metrics\n`);
  return server;
}
