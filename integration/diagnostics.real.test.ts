/** The process beside its terminal: signals through npm, and a stderr without a reader. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterEach, expect, it } from "vitest";
import { eventually, makeTrace, send, metric } from "#integration/parts/spans.ts";

const timeout = 120_000;
const root: string = fileURLToPath(new URL("..", import.meta.url));
const portNames: readonly string[] = ["--http-port", "--otlp-http-port", "--otlp-grpc-port"];
const ports: readonly string[] = portNames.flatMap((name) => [name, "0"]);
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function makeDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "spoor-diagnostics-"));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** Starts a program in a process group of its own, which is killed at the end of the test. */
function start(program: string, args: readonly string[]): ChildProcess {
  const path = `${dirname(process.execPath)}${delimiter}${process.env["PATH"] ?? ""}`;
  const env = { ...process.env, PATH: path };
  const child = spawn(program, args, { cwd: root, env, detached: true });
  cleanups.push(async () => {
    try {
      process.kill(-child.pid!, "SIGKILL");
    } catch {
      // The whole group is gone already.
    }
  });
  return child;
}

function textOf(stream: Readable): () => string {
  let text = "";
  stream.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  return () => text;
}

function addressIn(output: string, name: string): string {
  return new RegExp(`${name}\\s+(http://\\S+)`).exec(output)?.[1] ?? "";
}

/** Returns whether a process handles SIGHUP, from /proc. */
async function handlesHangup(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${String(pid)}/status`, "utf8");
  const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
  return (BigInt(`0x${mask}`) & 1n) === 1n;
}

it(
  "`npm start` hands SIGTERM to the server, ends when it has, and starts again",
  async () => {
    const dataDir = await makeDir();
    for (let i = 0; i < 2; i++) {
      const npm = start("npm", ["start", "--", "--data-dir", dataDir, ...ports]);
      const output = textOf(npm.stdout!);
      await eventually(async () => output().endsWith("ready\n"));
      const address = addressIn(output(), "API");
      const exited = once(npm, "exit");
      npm.kill("SIGTERM");
      await exited;
      // npm has ended, and so has the server: its port is free.
      await eventually(() =>
        fetch(`${address}/ready`).then(
          () => false,
          () => true,
        ),
      );
    }
  },
  timeout,
);

/** A server that has just begun to handle SIGHUP. */
async function startHandlingHangup(): Promise<{ child: ChildProcess; output: () => string }> {
  const args = ["cmd/spoor/spoor.js", "serve", "--data-dir", await makeDir(), ...ports];
  const child = start(process.execPath, args);
  const output = textOf(child.stdout!);
  await eventually(() => handlesHangup(child.pid!));
  return { child, output };
}

it(
  "SIGHUP during the start does not end the server",
  async () => {
    // On a busy machine the start may end before it was observed: then retry.
    let { child, output } = await startHandlingHangup();
    while (output() !== "") ({ child, output } = await startHandlingHangup());
    child.kill("SIGHUP");
    await eventually(async () => output().endsWith("ready\n"));
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
  },
  timeout,
);

it(
  "a stderr that nobody reads stops no request and no stop; lost lines are counted",
  async () => {
    const dir = await makeDir();
    const config = join(dir, "spoor.yaml");
    await writeFile(config, "log: {level: debug, buffer_bytes_max: 64KiB}\n");
    const flags = ["--config", config, "--data-dir", join(dir, "data"), ...ports];
    const child = start(process.execPath, ["cmd/spoor/spoor.js", "serve", ...flags]);
    const output = textOf(child.stdout!);
    child.stderr!.pause();
    await eventually(async () => output().endsWith("ready\n"));
    const api = addressIn(output(), "API");
    // One log line per request, more than a pipe and the buffer can hold.
    const query = `/api/search?q=${encodeURIComponent(`{ .${"x".repeat(4000)} == }`)}`;
    await eventually(async () => {
      await Promise.all(Array.from({ length: 50 }, () => fetch(`${api}${query}`)));
      return ((await metric(api, "spoor_logger_dropped_lines_total")) ?? 0) > 0;
    });
    await send(addressIn(output(), "OTLP/HTTP"), makeTrace(2));
    expect((await fetch(`${api}/ready`)).status).toBe(200);
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
  },
  timeout,
);
