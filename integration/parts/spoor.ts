/** The real binary in a test: its own process, free ports and its own data folder. */
import { randomUUID } from "node:crypto";
import { type ChildProcess, type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

export interface SpoorProcessOptions {
  dataDir: string;
  /** YAML of the config file; none if undefined. */
  config?: string;
  args?: readonly string[];
  /** Environment variables, in addition to those of the test. */
  env?: Readonly<Record<string, string>>;
  /** Runs it in its own network namespace, as in a container: only signals reach it. */
  ownNetwork?: boolean;
  /** Size of a temporary file system in memory that holds only the data folder. */
  diskBytes?: number;
  /** Folder with the code of another version; this version by default. */
  codeDir?: string;
  /** Called with the pid right after the start. */
  onSpawn?: (pid: number) => void;
}

export interface SpoorProcess {
  pid: number;
  /** `http://host:port` of API, OTLP/HTTP and OTLP/gRPC. */
  address: string;
  otlpHttp: string;
  otlpGrpc: string;
  /** Everything written to stderr so far. */
  log(): string;
  /** Everything written to stdout so far. */
  output(): string;
  /** Resolves when `/ready` responds with 200. */
  ready(): Promise<void>;
  /** Sends a signal, without waiting. */
  signal(name: NodeJS.Signals): void;
  /** Resolves to the exit code when the process has exited; -1 if a signal ended it. */
  readonly exited: Promise<number>;
  /** Sends SIGTERM; resolves to the exit code. */
  stop(): Promise<number>;
  /** Sends SIGKILL; resolves when the process has exited. */
  kill(): Promise<void>;
}

/** Admin token in the configs of tests, and its header. */
export const adminToken = "test-admin-token";
export const asAdmin: Readonly<Record<string, string>> = { authorization: `Bearer ${adminToken}` };

const ownCodeDir: string = fileURLToPath(new URL("../..", import.meta.url));
const logCharsMax = 4 * 1024 * 1024;
const runTimeoutMs = 60_000;

/** Starts `spoor serve`; resolves when it has printed its ports. Rejects if it exits before. */
export async function startSpoorProcess(options: SpoorProcessOptions): Promise<SpoorProcess> {
  const child = spawnSpoor(await serveArgs(options), options);
  if (child.pid !== undefined) options.onSpawn?.(child.pid);
  const { stdout, stderr, exited } = watch(child);
  const addresses = await new Promise<string[]>((resolve, reject) => {
    child.stdout.on("data", () => {
      const found = ["API", "OTLP/HTTP", "OTLP/gRPC"].map((name) => addressOf(stdout(), name));
      if (found.every((address) => address !== undefined)) resolve(found);
    });
    void exited.then((code) => {
      const said = `${stderr()}${stdout()}`;
      reject(new Error(`spoor exited with code ${code} before it listened: ${said}`));
    });
  });
  const [address, otlpHttp, otlpGrpc] = addresses;
  return {
    pid: child.pid!,
    address,
    otlpHttp,
    otlpGrpc,
    log: stderr,
    output: stdout,
    ready: () => untilReady(child, address),
    signal: (name) => void child.kill(name),
    exited,
    stop: () => end(child, "SIGTERM", exited),
    kill: async () => void (await end(child, "SIGKILL", exited)),
  };
}

export interface SpoorRun {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs `spoor` with arguments until it exits; kills it after `timeoutMs`, a minute by default. */
export async function runSpoor(
  args: readonly string[],
  timeoutMs: number = runTimeoutMs,
): Promise<SpoorRun> {
  const { stdout, stderr, exited } = watch(spawnSpoor(args, { timeout: timeoutMs }));
  return { code: await exited, stdout: stdout(), stderr: stderr() };
}

/** Runs `spoor serve`, which is expected to fail at the start, until it exits. */
export async function runServe(options: SpoorProcessOptions): Promise<SpoorRun> {
  return await runSpoor(await serveArgs(options));
}

async function serveArgs(options: SpoorProcessOptions): Promise<string[]> {
  const args = ["serve", "--data-dir", options.dataDir];
  args.push("--http-port", "0", "--otlp-http-port", "0", "--otlp-grpc-port", "0");
  if (options.config !== undefined) {
    const path = join(options.dataDir, "..", `${randomUUID()}-spoor.yaml`);
    await writeFile(path, options.config);
    args.push("--config", path);
  }
  return [...args, ...(options.args ?? [])];
}

type SpoorChild = ChildProcessByStdio<null, Readable, Readable>;

type SpawnOptions = Partial<
  Pick<SpoorProcessOptions, "codeDir" | "dataDir" | "diskBytes" | "env" | "ownNetwork">
> & { timeout?: number };

/** Shell script that mounts a private disk and then executes the program. */
const onOwnDisk = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@"';

function spawnSpoor(args: readonly string[], options: SpawnOptions = {}): SpoorChild {
  const { timeout, env, diskBytes, dataDir = "", codeDir = ownCodeDir } = options;
  const { ownNetwork = false } = options;
  const spoor = [process.execPath, join(codeDir, "cmd/spoor/spoor.js"), ...args];
  const unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c", onOwnDisk, "sh"];
  const disk = diskBytes === undefined ? [] : [...unshare, String(diskBytes), dataDir];
  const network = ownNetwork ? ["unshare", "--map-root-user", "--net"] : [];
  const [program, ...rest] = [...network, ...disk, ...spoor];
  return spawn(program, rest, {
    timeout,
    killSignal: "SIGKILL",
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** Collects the output of a process, up to a limit. */
function watch(child: SpoorChild): {
  stdout: () => string;
  stderr: () => string;
  exited: Promise<number>;
} {
  const texts = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (chunk: string) => {
      if (texts[name].length < logCharsMax) texts[name] += chunk;
    });
  }
  // "close" is emitted after the output was read to its end.
  const exited = once(child, "close").then(() => child.exitCode ?? -1);
  return { stdout: () => texts.stdout, stderr: () => texts.stderr, exited };
}

function addressOf(stdout: string, name: string): string | undefined {
  const match = new RegExp(`${name}\\s+(http://\\S+)`).exec(stdout);
  return match?.[1];
}

async function untilReady(child: ChildProcess, address: string): Promise<void> {
  for (;;) {
    const response = await fetch(`${address}/ready`);
    await response.arrayBuffer();
    if (response.status === 200) return;
    if (child.exitCode !== null) throw new Error(`spoor exited with code ${child.exitCode}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Ends a process. When `exited` resolves, its output was read to the end. */
async function end(
  child: ChildProcess,
  signal: NodeJS.Signals,
  exited: Promise<number>,
): Promise<number> {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal);
  return await exited;
}
