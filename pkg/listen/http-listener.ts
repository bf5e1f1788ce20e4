// HOT: runs per request; measured by `npm run bench` (receive).
/**
 * An HTTP/1 server with limits on connections, header size and request time. Every HTTP port of
 * Spoor is an HttpListener; `handle` answers its requests.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { responseHeaders } from "./cors.ts";
import {
  boundConnections,
  type Listener,
  listenOn,
  peerOf,
  type ListenAddress,
  type Refused,
} from "./addresses.ts";
import { endWithAnswer, type RawAnswer, type Unreadable, unreadableOf } from "./unreadable.ts";

export interface HttpListenerOptions {
  address: ListenAddress;
  connectionsMax: number;
  headersTimeoutMs: number;
  /** Time for a whole request with its body. */
  requestTimeoutMs: number;
  idleTimeoutMs: number;
  /** Size of request line and headers; 16 KiB unless given. */
  headerBytesMax?: number;
  /** Origins whose pages may read responses; none unless given. */
  corsAllowedOrigins?: readonly string[];
  /** Answers a request. If it throws, the connection is closed. */
  handle: (req: IncomingMessage, res: ServerResponse) => Promise<void> | void;
  /** Counts and lists bytes that are not a request. */
  noteRefused: (refused: Refused) => void;
  /** Called with what `handle` threw. */
  noteUnanswered: (thrown: unknown) => void;
  /** Returns the response to unreadable bytes. `req` is set if they are in its body. */
  answerUnreadable: (unreadable: Unreadable, req: IncomingMessage | undefined) => RawAnswer;
}

/** The latest request of a connection. */
interface Current {
  req: IncomingMessage;
  res: ServerResponse;
}

/** Bounds of the interval at which Node checks for late requests, milliseconds. */
const lateCheckMs = { min: 50, max: 2500 };

export class HttpListener implements Listener {
  readonly #options: HttpListenerOptions;
  readonly #server: Server;
  readonly #current = new WeakMap<Socket, Current>();
  readonly #sockets = new Set<Socket>();
  #isStopping = false;

  constructor(options: HttpListenerOptions) {
    const { headersTimeoutMs, requestTimeoutMs, idleTimeoutMs } = options;
    this.#options = options;
    const shortestMs = Math.min(headersTimeoutMs, requestTimeoutMs);
    this.#server = createServer(
      {
        headersTimeout: shortestMs,
        requestTimeout: requestTimeoutMs,
        keepAliveTimeout: idleTimeoutMs,
        maxHeaderSize: options.headerBytesMax,
        // HTTP/1.0 clients and load balancers' health checks send no Host; nothing here needs it.
        requireHostHeader: false,
        connectionsCheckingInterval: Math.max(
          lateCheckMs.min,
          Math.min(shortestMs / 4, lateCheckMs.max),
        ),
      },
      (req, res) => void this.#handle(req, res),
    );
    boundConnections(this.#server, options.connectionsMax, options.noteRefused);
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    this.#server.on("clientError", (error, socket) => this.#refuse(error, socket as Socket));
  }

  start(): Promise<number> {
    return listenOn(this.#server, this.#options.address);
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    // Node closes idle connections only if they have had a request.
    for (const socket of this.#sockets) this.#closeAfterAnswer(socket);
    await promise;
  }

  kill(): void {
    this.#server.closeAllConnections();
  }

  #closeAfterAnswer(socket: Socket): void {
    const res = this.#current.get(socket)?.res;
    if (res === undefined || res.writableFinished) socket.destroy();
    else {
      if (!res.headersSent) res.setHeader("Connection", "close");
      res.once("finish", () => socket.end());
    }
  }

  async #handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { corsAllowedOrigins, handle, noteUnanswered } = this.#options;
    this.#current.set(req.socket, { req, res });
    try {
      if (corsAllowedOrigins !== undefined) {
        for (const [name, value] of responseHeaders(req, corsAllowedOrigins)) {
          res.setHeader(name, value);
        }
      }
      if (this.#isStopping) res.setHeader("Connection", "close");
      await handle(req, res);
    } catch (thrown) {
      noteUnanswered(thrown);
      res.destroy();
    }
  }

  /** Answers bytes that node:http could not parse as a request, or that arrived too slowly. */
  #refuse(error: NodeJS.ErrnoException, socket: Socket): void {
    const current = this.#current.get(socket);
    const isInBody = current !== undefined && !current.res.writableEnded;
    const unreadable = unreadableOf(error, isInBody);
    const { reason, message } = unreadable;
    this.#options.noteRefused({ reason, message, peer: peerOf(socket) });
    const isUsable = socket.writable && error.code !== "ECONNRESET";
    if (!isUsable || (current !== undefined && isHalfDone(current))) socket.destroy();
    else {
      const req = isInBody ? current.req : undefined;
      endWithAnswer(socket, this.#options.answerUnreadable(unreadable, req));
    }
  }
}

/** Returns whether a response has begun and either it or its request is unfinished. */
function isHalfDone({ req, res }: Current): boolean {
  return res.headersSent && !(res.writableFinished && req.complete);
}
