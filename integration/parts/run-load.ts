/** Runs `spoor load` against a server of a test or benchmark. */
import type { LoadSummary } from "#cmd/spoor/load/load-text.ts";
import { runSpoor, type SpoorProcess } from "./spoor.ts";

export interface LoadRun {
  code: number;
  summary: LoadSummary;
}

export interface LoadRunOptions {
  /** 0: as many as the server accepts. */
  spansPerSecond: number;
  durationMs: number;
  /** HTTP by default. */
  protocol?: "http" | "grpc";
  /** A new seed for each run by default. */
  seed?: number;
}

/** Tenant of the generated spans. */
export const loadTenant = "load";

/** Runs `spoor load`; it retries unacknowledged spans for two minutes after the end. */
export async function runLoad(
  server: Pick<SpoorProcess, "otlpHttp" | "otlpGrpc">,
  { spansPerSecond, durationMs, protocol = "http", seed }: LoadRunOptions,
): Promise<LoadRun> {
  const drainMs = 120_000;
  const timeoutMs = durationMs + drainMs + 60_000;
  const endpoint = protocol === "http" ? server.otlpHttp : server.otlpGrpc;
  const args = ["load", "--json", "--endpoint", endpoint, "--protocol", protocol];
  args.push("--tenant", loadTenant, "--spans-per-second", String(spansPerSecond));
  args.push("--duration", `${durationMs}ms`, "--drain", `${drainMs}ms`);
  args.push("--seed", String(seed ?? Date.now() % 1_000_000));
  const { code, stdout, stderr } = await runSpoor(args, timeoutMs);
  if (stdout === "") throw new Error(`spoor load ended with ${code}: ${stderr}`);
  return { code, summary: JSON.parse(stdout) as LoadSummary };
}
