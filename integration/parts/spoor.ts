/** The real binary as a part of a test: its own process, free ports, a data folder of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface SpoorProcessOptions {
  dataDir: string;
  /** YAML of the config file; none if undefined. */
  config?: string;
  args?: readonly string[];
}

export interface SpoorProcess {
  pid: number;
  /** `http://host:port` of API, OTLP/HTTP and OTLP/gRPC. */
  address: string;
  otlpHttp: string;
  otlpGrpc: string;
  /** Everything written to stderr so far. */
  log(): string;
  /** Resolves when `/ready` answers 200. */
  ready(): Promise<void>;
  /** SIGTERM; resolves to the exit code. */
  stop(): Promise<number>;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
}

const mainPath: string = fileURLToPath(new URL("../../cmd/spoor/spoor.js", import.meta.url));
const logBytesMax = 4 * 1024 * 1024;

/** Starts `spoor serve`; resolves when it has printed its ports. Rejects if it exits before. */
export async function startSpoorProcess(options: SpoorProcessOptions): Promise<SpoorProcess> {
  const args = [mainPath, "serve", "--data-dir", options.dataDir];
  args.push("--http-port", "0", "--otlp-http-port", "0", "--otlp-grpc-port", "0");
  if (options.config !== undefined) {
    const path = join(options.dataDir, "..", `${process.pid}-${Date.now()}-spoor.yaml`);
    await writeFile(path, options.config);
    args.push("--config", path);
  }
  args.push(...(options.args ?? []));
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => {
    if (stderr.length < logBytesMax) stderr += chunk.toString("utf8");
  });
  const addresses = await new Promise<string[]>((resolve, reject) => {
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString("utf8");
      const found = ["API", "OTLP/HTTP", "OTLP/gRPC"].map((name) => addressOf(stdout, name));
      if (found.every((address) => address !== undefined)) resolve(found);
    });
    child.once("exit", (code) => {
      reject(new Error(`spoor exited with code ${code} before it listened: ${stderr}${stdout}`));
    });
  });
  const [address, otlpHttp, otlpGrpc] = addresses;
  return {
    pid: child.pid!,
    address,
    otlpHttp,
    otlpGrpc,
    log: () => stderr,
    ready: () => untilReady(child, address),
    stop: () => end(child, "SIGTERM"),
    kill: async () => void (await end(child, "SIGKILL")),
  };
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

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }
  return child.exitCode ?? -1;
}
