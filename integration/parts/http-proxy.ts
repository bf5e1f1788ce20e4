/**
 * A proxy between a client and an HTTP server on loopback that delays, refuses, answers by itself,
 * loses answers after the effect, and tells when a request of a kind comes by. What passes is not
 * changed, so signatures stay right.
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
 * - `pass`: to the server and back;
 * - `refuse`: the connection breaks before the server has heard of it;
 * - `lose`: the server does it, and the connection breaks instead of the answer;
 * - an answer that the server never gave.
 */
export type Verdict =
  | "pass"
  | "refuse"
  | "lose"
  | { status: number; headers?: Record<string, string>; body?: string };

export interface HttpProxy {
  /** `http://127.0.0.1:port`. */
  address: string;
  /** Where requests go; may be changed while it runs. */
  target: string;
  /** Added to each request. */
  delayMs: number;
  /** Decides about each request that no trap takes; it may do something first. */
  plan: (request: ProxiedRequest) => Verdict | Promise<Verdict>;
  /** Requests so far. */
  readonly count: number;
  /**
   * Resolves when a request of this kind comes ("before" the server hears of it) or was done by the
   * server ("after"); its answer never comes. One request only.
   */
  trap(isIt: (request: ProxiedRequest) => boolean, when: "before" | "after"): Promise<void>;
  /** Forgets traps that nothing fell into. */
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
    // The one that is caught waits for an answer until somebody ends it.
    if (trap?.when === "before") return trap.spring();
    try {
      const verdict = trap === undefined ? await this.plan(known) : "pass";
      if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
      if (verdict === "refuse") return void response.destroy();
      if (typeof verdict === "object") return this.#answer(request, response, verdict);
      const answer = await this.#forward(request, known);
      if (trap !== undefined || verdict === "lose") {
        answer.resume();
        await once(answer, "close");
        if (trap === undefined) response.destroy();
        else trap.spring();
        return;
      }
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      await pipeline(answer, response);
    } catch {
      // The server is away, or either side hung up: the other one sees a broken connection.
      response.destroy();
    }
  }

  #answer(
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
    const answered = once(outgoing, "response") as Promise<[IncomingMessage]>;
    const sent = pipeline(request, outgoing);
    const [[answer]] = await Promise.all([answered, sent]);
    return answer;
  }
}
