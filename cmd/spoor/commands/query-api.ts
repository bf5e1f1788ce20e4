/** Shared by commands that query a running Spoor (or Tempo): its URL, and GET requests. */
import { SpoorError } from "#pkg/errors/errors.ts";
import { isTenantName } from "#pkg/tenant/tenant.ts";
import { type FlagSpec, flagText, type ParsedArgs, usageError } from "#cmd/spoor/flags.ts";
import { parseEndpoint } from "#cmd/spoor/endpoint.ts";
import { escapeControls } from "./escape.ts";

const defaultEndpoint = "http://127.0.0.1:3200";
/** Longer than the default time limit of a query on the server. */
const timeoutMs = 120_000;
const errorBytesMax = 4096;

export const apiFlags: readonly FlagSpec[] = [
  {
    name: "--endpoint",
    value: "URL",
    help: `URL of the query API (default ${defaultEndpoint})`,
  },
  { name: "--tenant", value: "NAME", help: "tenant, if multi-tenancy is on" },
];

export interface ApiTarget {
  endpoint: URL;
  tenant: string | undefined;
}

/** Returns the target that `apiFlags` name; `flag` has the URL. Throws a usage error. */
export function apiTargetOf(args: ParsedArgs, flag = "--endpoint"): ApiTarget {
  const text = flagText(args, flag) ?? defaultEndpoint;
  const endpoint = parseEndpoint(text.endsWith("/") ? text : `${text}/`, flag, defaultEndpoint);
  const tenant = flagText(args, "--tenant");
  if (tenant !== undefined && !isTenantName(tenant)) {
    throw usageError(`${JSON.stringify(tenant)} is not a valid tenant name`);
  }
  return { endpoint, tenant };
}

export interface ApiRequest {
  /** The `Accept` header, and a pattern of accepted content types. */
  accept: string;
  acceptPattern: RegExp;
  bytesMax: number;
}

export interface ApiAnswer {
  body: Uint8Array;
  headers: Headers;
}

/**
 * Sends a GET request. Returns undefined for 404. Throws InvalidInput, LimitExceeded or Unavailable
 * for other statuses than 200, TooLarge for a long response, Unavailable if there is no response.
 */
export async function getFromApi(
  { tenant }: ApiTarget,
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
        `get ${shownUrl(url)}: got content type ${escapeControls(contentType)} instead of ` +
          `${accept.replace("application/", "")}: is this the query API of Spoor or Tempo?`,
      );
    }
    return { body: await readBody(response, bytesMax), headers: response.headers };
  } catch (error) {
    if (error instanceof SpoorError) throw error;
    throw unreachable(url, error);
  }
}

/** Reads a body of at most `bytesMax`. Throws TooLarge. */
async function readBody(response: Response, bytesMax: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  if (response.body !== null) {
    for await (const chunk of response.body) {
      sizeBytes += chunk.length;
      if (sizeBytes > bytesMax) {
        throw new SpoorError("TooLarge", `the response is larger than ${String(bytesMax)} bytes`);
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
    // The status is enough if the text is cut off or too long.
  }
  const hint = response.status === 401 ? " (--tenant names the tenant)" : "";
  const why = text === "" ? "" : `: ${escapeControls(text.trim().slice(0, 500))}`;
  const code = response.status === 429 ? "LimitExceeded" : "InvalidInput";
  return new SpoorError(
    response.status >= 500 ? "Unavailable" : code,
    `get ${shownUrl(url)}: answered ${String(response.status)}${why}${hint}`,
  );
}

/** Returns the error of a failed `fetch`, whose reason is in its cause, not in its message. */
function unreachable(url: URL, error: unknown): SpoorError {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const text = cause instanceof Error && cause.message !== "" ? cause.message : code;
  const hint = code === "ECONNREFUSED" ? " (is `spoor serve` running there?)" : "";
  return new SpoorError("Unavailable", `get ${shownUrl(url)}: ${text || String(error)}${hint}`, {
    cause: error,
  });
}

/** Formats a URL without its parameters, since a query can be long. */
function shownUrl({ origin, pathname }: URL): string {
  return `${origin}${pathname}`;
}
