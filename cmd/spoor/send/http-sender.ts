/** Sends OTLP/HTTP with protobuf over persistent connections. */
import {
  Agent as HttpAgent,
  type ClientRequest,
  type IncomingMessage,
  request as plainRequest,
} from "node:http";
import { Agent as HttpsAgent, request as tlsRequest } from "node:https";
import { SpoorError } from "#pkg/errors/errors.ts";
import { readStatus, type Status } from "#pkg/grpc/grpc.ts";
import { noResponse, type SendResult, type Sender, type SenderOptions } from "./sender.ts";
import { readPartialSuccess } from "./partial-success.ts";

const timeoutMs = 60_000;
const answerBytesMax = 1024 * 1024;
/** https://opentelemetry.io/docs/specs/otlp/#failures-1 */
const retryableStatuses = [429, 502, 503, 504];

export function openHttpSender({ endpoint, tenant, inFlightMax }: SenderOptions): Sender {
  const isTls = endpoint.protocol === "https:";
  const agentOptions = { keepAlive: true, maxSockets: inFlightMax };
  const agent = isTls ? new HttpsAgent(agentOptions) : new HttpAgent(agentOptions);
  const url = tracesUrl(endpoint);
  const headers: Record<string, string> = { "Content-Type": "application/x-protobuf" };
  if (tenant !== undefined) headers["X-Scope-OrgID"] = tenant;
  const place = {
    protocol: url.protocol,
    hostname: hostOf(url),
    port: url.port,
    path: url.pathname,
  };
  const start = isTls ? tlsRequest : plainRequest;
  return {
    send: async (body) => {
      const all = { ...headers, "Content-Length": body.length };
      const options = { ...place, agent, method: "POST", headers: all, timeout: timeoutMs };
      try {
        return await exchange(start(options), body);
      } catch (error) {
        return noResponse(error);
      }
    },
    close: () => agent.destroy(),
  };
}

/** Appends the OTLP path unless it is present, as OTEL_EXPORTER_OTLP_ENDPOINT defines. */
function tracesUrl(endpoint: URL): URL {
  if (endpoint.pathname.endsWith("/v1/traces")) return endpoint;
  return new URL(`${endpoint.pathname.replace(/\/$/, "")}/v1/traces`, endpoint);
}

/** Returns the host without the brackets of an IPv6 address, which node:http does not accept. */
function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, "$1");
}

function exchange(request: ClientRequest, body: Uint8Array): Promise<SendResult> {
  return new Promise((resolve, reject) => {
    request.once("error", reject);
    request.once("timeout", () => {
      request.destroy(new SpoorError("Timeout", `no response within ${timeoutMs} ms`));
    });
    request.once("response", (response) => {
      readAnswer(response).then(resolve, reject);
    });
    request.end(body);
  });
}

async function readAnswer(response: IncomingMessage): Promise<SendResult> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes <= answerBytesMax) chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  const { statusCode = 0, headers } = response;
  const isProtobuf = (headers["content-type"] ?? "").startsWith("application/x-protobuf");
  if (statusCode >= 200 && statusCode < 300) {
    const partial = isProtobuf ? readPartialSuccess(body) : { rejectedSpans: 0, message: "" };
    return { kind: "stored", ...partial };
  }
  const status = isProtobuf ? statusOf(body) : { message: body.toString("utf8").slice(0, 500) };
  return {
    kind: "refused",
    reason: status.reason ?? `http_${statusCode}`,
    message: status.message,
    isRetryable: retryableStatuses.includes(statusCode),
    retryAfterMs: retryAfterMs(headers["retry-after"]) ?? status.retryAfterMs,
  };
}

/** Reads the body of a refusal. With an invalid body the HTTP status alone counts. */
function statusOf(body: Uint8Array): Omit<Status, "code"> {
  try {
    return readStatus(body);
  } catch {
    return { message: "(the body is not a google.rpc.Status)" };
  }
}

/** Parses a Retry-After header: seconds, or a date. */
function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const atMs = Date.parse(header);
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - Date.now());
}
