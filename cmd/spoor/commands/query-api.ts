/** What commands that ask a running Spoor (or Tempo) share: where it is, and one GET. */
import { SpoorError } from "#pkg/errors/errors.ts";
import { isTenantName } from "#pkg/tenant/tenant.ts";
import { type FlagSpec, flagText, type ParsedArgs, usageError } from "#cmd/spoor/flags.ts";
import { parseEndpoint } from "#cmd/spoor/endpoint.ts";
import { escapeControls } from "./escape.ts";

const defaultEndpoint = "http://127.0.0.1:3200";
/** Longer than a server lets a query run. */
const timeoutMs = 120_000;
const errorBytesMax = 4096;

export const apiFlags: readonly FlagSpec[] = [
  {
    name: "--endpoint",
    value: "URL",
    help: `where the query API is (default ${defaultEndpoint})`,
  },
  { name: "--tenant", value: "NAME", help: "tenant, where multi-tenancy is on" },
];

export interface ApiPlace {
  endpoint: URL;
  tenant: string | undefined;
}

/** What `apiFlags` say, or another flag with the address. Throws a usage error. */
export function placeOfApi(args: ParsedArgs, flag = "--endpoint"): ApiPlace {
  const text = flagText(args, flag) ?? defaultEndpoint;
  const endpoint = parseEndpoint(text.endsWith("/") ? text : `${text}/`, flag, defaultEndpoint);
  const tenant = flagText(args, "--tenant");
  if (tenant !== undefined && !isTenantName(tenant)) {
    throw usageError(`${JSON.stringify(tenant)} is not a tenant's name`);
  }
  return { endpoint, tenant };
}

export interface ApiRequest {
  /** What is asked for, and what its content type may be. */
  accept: string;
  acceptPattern: RegExp;
  bytesMax: number;
}

export interface ApiAnswer {
  body: Uint8Array;
  headers: Headers;
}

/** Undefined for 404. InvalidInput or Unavailable for other answers than 200, TooLarge. */
export async function getFromApi(
  { tenant }: ApiPlace,
  url: URL,
  { accept, acceptPattern, bytesMax }: ApiRequest,
): Promise<ApiAnswer | undefined> {
  const headers: Record<string, string> = { Accept: accept };
  if (tenant !== undefined) headers["X-Scope-OrgID"] = tenant;
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(url, { headers, redirect: "error", signal });
    if (response.status === 404) {
      await response.body?.cancel();
      return undefined;
    }
    if (response.status !== 200) throw await refused(url, response);
    const contentType = response.headers.get("content-type") ?? "";
    if (!acceptPattern.test(contentType)) {
      await response.body?.cancel();
      throw new SpoorError(
        "InvalidInput",
        `get ${shownUrl(url)}: answered ${escapeControls(contentType)} instead of ` +
          `${accept.replace("application/", "")}: is this the query API of Spoor or Tempo?`,
      );
    }
    return { body: await readBody(response, bytesMax), headers: response.headers };
  } catch (error) {
    if (error instanceof SpoorError) throw error;
    throw unreachable(url, error);
  }
}

/** The body up to `bytesMax`. TooLarge beyond. */
async function readBody(response: Response, bytesMax: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  if (response.body !== null) {
    for await (const chunk of response.body) {
      sizeBytes += chunk.length;
      if (sizeBytes > bytesMax) {
        throw new SpoorError("TooLarge", `the answer is larger than ${String(bytesMax)} bytes`);
      }
      chunks.push(chunk);
    }
  }
  return Buffer.concat(chunks, sizeBytes);
}

async function refused(url: URL, response: Response): Promise<SpoorError> {
  let text = "";
  try {
    text = Buffer.from(await readBody(response, errorBytesMax)).toString("utf8");
  } catch {
    // The status says enough when the text is cut off or too long.
  }
  const hint = response.status === 401 ? " (--tenant names the tenant)" : "";
  const why = text === "" ? "" : `: ${escapeControls(text.trim().slice(0, 500))}`;
  const code = response.status === 429 ? "LimitExceeded" : "InvalidInput";
  return new SpoorError(
    response.status >= 500 ? "Unavailable" : code,
    `get ${shownUrl(url)}: answered ${String(response.status)}${why}${hint}`,
  );
}

/** `fetch` says only "fetch failed"; the reason is in its cause. */
function unreachable(url: URL, error: unknown): SpoorError {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const text = cause instanceof Error && cause.message !== "" ? cause.message : code;
  const hint = code === "ECONNREFUSED" ? " (is `spoor serve` running there?)" : "";
  return new SpoorError("Unavailable", `get ${shownUrl(url)}: ${text || String(error)}${hint}`, {
    cause: error,
  });
}

/** Without the parameters: a query can be long. */
function shownUrl({ origin, pathname }: URL): string {
  return `${origin}${pathname}`;
}
