/** Reads and parses the overrides file (limits of single tenants); large files on a thread. */
import { Worker } from "node:worker_threads";
import { configBytesMax, type Environment, parseConfig } from "#pkg/config/config.ts";
import { type ErrorData, errorFromData, SpoorError } from "#pkg/errors/errors.ts";
import { readRegularFileAsync } from "#pkg/files/files.ts";
import { limitOverrides, type LimitOverrides } from "#pkg/limits/limits.ts";
import { isTenantName } from "#pkg/tenant/tenant.ts";

export interface OverridesSource {
  text: string;
  /** Name of the file, for messages. */
  name: string;
  env: Environment;
}

/** Longest text parsed on this thread: about 10 ms. 20,000 tenants (1 MiB) take 1.7 s. */
const inPlaceCharsMax = 8 * 1024;

/** Reads the file. Throws TooLarge, or Unavailable, also if it is not a regular file. */
export async function readOverridesText(path: string): Promise<string> {
  try {
    return (await readRegularFileAsync(path, configBytesMax)).toString();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SpoorError("Unavailable", `read the limits of tenants: ${why}`, { cause });
  }
}

/** Parses the file. Throws ConfigError, or InvalidInput `usage`. */
export function parseOverrides(source: OverridesSource): LimitOverrides {
  const overrides = parseConfig(limitOverrides, source);
  const bad = Object.keys(overrides.tenants).find((tenant) => !isTenantName(tenant));
  if (bad === undefined) return overrides;
  const message = `${source.name}: tenants: ${JSON.stringify(bad)} is not a valid tenant name`;
  throw new SpoorError("InvalidInput", message, { reason: "usage" });
}

/** Parses without blocking the event loop. Throws as `parseOverrides` does. */
export async function parseOverridesAside(source: OverridesSource): Promise<LimitOverrides> {
  if (source.text.length <= inPlaceCharsMax) return parseOverrides(source);
  const env = Object.fromEntries(Object.entries(source.env));
  const worker = new Worker(new URL("overrides-worker.ts", import.meta.url), {
    workerData: { ...source, env },
  });
  const { promise, resolve, reject } = Promise.withResolvers<LimitOverrides>();
  worker.once("error", reject);
  worker.once("exit", () => reject(new Error("the thread that parses limits has ended")));
  worker.once("message", (result: { overrides: LimitOverrides } | { error: ErrorData }) => {
    if ("error" in result) reject(errorFromData(result.error));
    else resolve(result.overrides);
  });
  return await promise;
}
