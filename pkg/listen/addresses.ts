/** Ports that are listened on: opening them, all or none, and closing them within a time. */
import type { AddressInfo, Server } from "node:net";
import { SpoorError } from "#pkg/errors/errors.ts";

export interface Place {
  host: string;
  /** 0 takes a free one. */
  port: number;
}

/** A server on a port of its own. */
export interface Listener {
  /** Listens; resolves with the port. Throws Unavailable `listen`. */
  start(): Promise<number>;
  /** Takes no more requests; resolves when those under way are answered. */
  stop(): Promise<void>;
  /** Closes connections without an answer. */
  kill(): void;
}

/** Makes a server listen; resolves with the port. Throws Unavailable `listen`, with its cause. */
export async function listenOn(server: Server, { host, port }: Place): Promise<number> {
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

/** Starts listeners in their order; resolves with their ports. If one fails, none stays open. */
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
 * Stops listeners and waits until all is answered, and `rest` has settled, but for `deadlineMs` at
 * most: then their connections are closed without an answer. Resolves to whether all was answered.
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

/** Address of a client, for people; "" when it has gone. */
export function peerOf({ remoteAddress, remotePort }: RemoteEnd): string {
  return remoteAddress === undefined ? "" : `${remoteAddress}:${remotePort}`;
}

/** Something that was refused before it was a request. */
export interface Refused {
  reason: string;
  message: string;
  /** Address of the client. */
  peer: string;
}

/** Calls `note` for each connection that is closed because there are `connectionsMax` already. */
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
