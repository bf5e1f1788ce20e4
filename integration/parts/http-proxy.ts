/**
 * A proxy between a client and an HTTP server on loopback. It can delay or refuse requests, respond
 * in place of the server, lose responses, and wait for a request of a kind. It forwards requests
 * unchanged, so signatures stay valid.
 */
import { once } from "node:events";
import {
  Agent,
  createServer,
  type IncomingMessage,
  request as sendRequest,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";

export interface ProxiedRequest {
  method: string;
  /** Path with query, as sent. */
  url: string;
  headers: IncomingMessage["headers"];
}

/**
 * Decision about a request:
 *
 * - `pass`: forwards the request and the response;
 * - `refuse`: breaks the connection before the server gets the request;
 * - `lose`: forwards the request, and breaks the connection instead of the response;
 * - an object: sends this response in place of the server.
 */
export type Verdict =
  | "pass"
  | "refuse"
  | "lose"
  | { status: number; headers?: Record<string, string>; body?: string };

export interface HttpProxy {
  /** `http://127.0.0.1:port`. */
  address: string;
  /** URL of the server; may be changed at any time. */
  target: string;
  /** Delay of each request. */
  delayMs: number;
  /** Decides about each request without a trap; may have side effects. */
  plan: (request: ProxiedRequest) => Verdict | Promise<Verdict>;
  /** Requests so far. */
  readonly count: number;
  /**
   * Traps one request: resolves when a matching request arrives ("before" the server gets it), or
   * when the server has handled it ("after"). The client never gets a response.
   */
  trap(isIt: (request: ProxiedRequest) => boolean, when: "before" | "after"): Promise<void>;
  /** Removes traps without a request. */
  clearTraps(): void;
  stop(): Promise<void>;
}

interface Trap {
  isIt: (request: ProxiedRequest) => boolean;
  when: "before" | "after";
  spring: () => void;
}

export async function startHttpProxy(target: string): Promise<HttpProxy> {
  const proxy = new Proxy(target);
  await proxy.start();
  return proxy;
}

class Proxy implements HttpProxy {
  address = "";
  target: string;
  delayMs = 0;
  plan: HttpProxy["plan"] = () => "pass";
  count = 0;
  readonly #traps = new Set<Trap>();
  readonly #agent = new Agent({ keepAlive: true });
  readonly #server = createServer((request, response) => void this.#serve(request, response));

  constructor(target: string) {
    this.target = target;
  }

  async start(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.address = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  trap(isIt: Trap["isIt"], when: Trap["when"]): Promise<void> {
    return new Promise((resolve) => {
      this.#traps.add({ isIt, when, spring: resolve });
    });
  }

  clearTraps(): void {
    this.#traps.clear();
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    this.#agent.destroy();
    await once(this.#server, "close");
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "", headers } = request;
    const known = { method, url, headers };
    this.count++;
    const trap = [...this.#traps].find(({ isIt }) => isIt(known));
    if (trap !== undefined) this.#traps.delete(trap);
    // The client of a trapped request waits until it or the proxy ends.
    if (trap?.when === "before") return trap.spring();
    try {
      const verdict = trap === undefined ? await this.plan(known) : "pass";
      if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
      if (verdict === "refuse") return void response.destroy();
      if (typeof verdict === "object") return this.#respond(request, response, verdict);
      const upstream = await this.#forward(request, known);
      if (trap !== undefined || verdict === "lose") {
        upstream.resume();
        await once(upstream, "close");
        if (trap === undefined) response.destroy();
        else trap.spring();
        return;
      }
      response.writeHead(upstream.statusCode ?? 502, upstream.rawHeaders);
      await pipeline(upstream, response);
    } catch {
      // The server is down, or one side closed its connection: break the other one, too.
      response.destroy();
    }
  }

  #respond(
    request: IncomingMessage,
    response: ServerResponse,
    { status, headers, body }: Exclude<Verdict, string>,
  ): void {
    request.resume();
    response.writeHead(status, headers).end(body);
  }

  async #forward(
    request: IncomingMessage,
    { method, url, headers }: ProxiedRequest,
  ): Promise<IncomingMessage> {
    const { hostname, port } = new URL(this.target);
    const outgoing = sendRequest({
      hostname,
      port,
      method,
      path: url,
      headers,
      agent: this.#agent,
    });
    const responded = once(outgoing, "response") as Promise<[IncomingMessage]>;
    const sent = pipeline(request, outgoing);
    const [[upstream]] = await Promise.all([responded, sent]);
    return upstream;
  }
}
