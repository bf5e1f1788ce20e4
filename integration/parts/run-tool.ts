/** Runs a program of the machine until it exits. */
import { spawn } from "node:child_process";
import { once } from "node:events";

export interface ToolResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface ToolOptions {
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  timeoutMs?: number;
}

const timeoutMsDefault = 600_000;

/** Runs a program; resolves for any exit code, and kills it after the timeout. */
export async function tryTool(
  name: string,
  args: readonly string[],
  { env, cwd, timeoutMs = timeoutMsDefault }: ToolOptions = {},
): Promise<ToolResult> {
  const child = spawn(name, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  const texts = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8").on("data", (chunk: string) => (texts[stream] += chunk));
  }
  await once(child, "close");
  return { code: child.exitCode ?? -1, ...texts };
}

/** Runs a program; returns its trimmed standard output. Throws with its stderr if it fails. */
export async function runTool(
  name: string,
  args: readonly string[],
  options: ToolOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await tryTool(name, args, options);
  if (code === 0) return stdout.trimEnd();
  throw new Error(`${name} ${args.join(" ")}: exit code ${code}: ${stderr.slice(-4000)}`);
}
