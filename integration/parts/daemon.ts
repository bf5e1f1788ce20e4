/** A real server as a child process, on a free port of loopback. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

/** A running server. */
export interface Part {
  /** `http://127.0.0.1:port`. */
  address: string;
  /** Sends SIGTERM; resolves when the process has exited. */
  stop(): Promise<void>;
  /** Sends SIGKILL; resolves when the process has exited. */
  kill(): Promise<void>;
}

export interface DaemonOptions {
  program: string;
  args: readonly string[];
  env?: Readonly<Record<string, string>>;
  address: string;
  /** Returns whether the server responds. May throw while it does not. */
  isReady: () => Promise<boolean>;
}

const startTimeoutMs = 60_000;
const stopTimeoutMs = 10_000;
const pollMs = 50;
const logCharsMax = 100_000;
const portRange: [min: number, max: number] = [20_000, 32_000];

/** Starts a program and waits until it is ready. Throws with its output if it is not. */
export async function startDaemon(options: DaemonOptions): Promise<Part> {
  const { program, args, env, address } = options;
  const child = spawn(program, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      log = (log + chunk).slice(-logCharsMax);
    });
  }
  await once(child, "spawn");
  // A test process that exits early must not leave the server running.
  const killAtExit = (): void => void child.kill("SIGKILL");
  process.once("exit", killAtExit);
  child.once("exit", () => process.off("exit", killAtExit));
  try {
    await untilReady(child, options);
  } catch (error) {
    await end(child, "SIGKILL");
    throw new Error(`${program} did not start: ${String(error)}: ${log}`, { cause: error });
  }
  return {
    address,
    stop: async () => await end(child, "SIGTERM"),
    kill: async () => await end(child, "SIGKILL"),
  };
}

/**
 * Returns a free port of loopback. It is below the ephemeral ports, so that it stays free between a
 * stop and a restart of its server.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(...portRange);
    if (await isFree(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  server.listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") return false;
    throw error;
  }
  server.close();
  await once(server, "close");
  return true;
}

async function untilReady(child: ChildProcess, { isReady }: DaemonOptions): Promise<void> {
  const endMs = performance.now() + startTimeoutMs;
  let last: unknown = "it does not respond";
  while (performance.now() < endMs) {
    if (child.exitCode !== null) throw new Error(`it ended with code ${child.exitCode}`);
    try {
      if (await isReady()) return;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  throw new Error(`it is not ready after ${startTimeoutMs} ms`, { cause: last });
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill(signal);
  const timer = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
  await exited;
  clearTimeout(timer);
}
