/** Opens ports, all or none, and closes them within a deadline. */
import type { AddressInfo, Server } from "node:net";
import { SpoorError } from "#pkg/errors/errors.ts";

export interface ListenAddress {
  host: string;
  /** 0 picks a free port. */
  port: number;
}

/** A server on a port of its own. */
export interface Listener {
  /** Listens; resolves with the port. Throws Unavailable (`listen`). */
  start(): Promise<number>;
  /** Accepts no more requests; resolves when those in flight are answered. */
  stop(): Promise<void>;
  /** Closes connections without a response. */
  kill(): void;
}

/** Makes a server listen; resolves with the port. Throws Unavailable (`listen`) with its cause. */
export async function listenOn(server: Server, { host, port }: ListenAddress): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onError = (cause: Error): void => {
    const message = `listen on ${host}:${port}: ${cause.message}`;
    reject(new SpoorError("Unavailable", message, { cause, reason: "listen" }));
  };
  server.once("error", onError);
  server.listen(port, host, resolve);
  await promise;
  server.off("error", onError);
  return (server.address() as AddressInfo).port;
}

/** Starts listeners in order; resolves with their ports. If one fails, none stays open. */
export async function startAll(listeners: readonly Listener[]): Promise<number[]> {
  const ports: number[] = [];
  for (const listener of listeners) {
    try {
      ports.push(await listener.start());
    } catch (error) {
      const opened = listeners.slice(0, ports.length);
      for (const one of opened) one.kill();
      await Promise.all(opened.map((one) => one.stop()));
      throw error;
    }
  }
  return ports;
}

/**
 * Stops listeners and waits, at most `deadlineMs`, until all requests are answered and `rest` has
 * settled. Then closes the remaining connections without a response. Resolves to whether all
 * requests were answered.
 */
export async function stopAll(
  listeners: readonly Listener[],
  deadlineMs: number,
  rest: Promise<unknown> = Promise.resolve(),
): Promise<boolean> {
  const stopped = Promise.all([...listeners.map((one) => one.stop()), rest]);
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => late.resolve(false), deadlineMs);
  try {
    const isAnswered = await Promise.race([stopped.then(() => true), late.promise]);
    if (!isAnswered) for (const one of listeners) one.kill();
    return isAnswered;
  } finally {
    clearTimeout(timer);
  }
}

interface RemoteEnd {
  remoteAddress?: string;
  remotePort?: number;
}

/** Returns a client's address for logs; "" if it has disconnected. */
export function peerOf({ remoteAddress, remotePort }: RemoteEnd): string {
  return remoteAddress === undefined ? "" : `${remoteAddress}:${remotePort}`;
}

/** A connection or bytes that were refused before a request was recognized. */
export interface Refused {
  reason: string;
  message: string;
  /** Address of the client. */
  peer: string;
}

/** Bounds the open connections of a server. Calls `note` for each connection above the limit. */
export function boundConnections(
  server: Server,
  connectionsMax: number,
  note: (refused: Refused) => void,
): void {
  server.maxConnections = connectionsMax;
  server.on("drop", (from) => {
    const message = `over ${connectionsMax} connections`;
    note({ reason: "connections", message, peer: peerOf(from ?? {}) });
  });
}
