/** Sends OTLP requests to any backend and reports each result as an SDK's exporter sees it. */
import { SpoorError } from "#pkg/errors/errors.ts";

export type SendResult =
  | { kind: "stored"; rejectedSpans: number; message: string }
  | {
      kind: "refused";
      /** A stable word: the server's own reason, or e.g. `http_503`, `connection`. */
      reason: string;
      message: string;
      /** Whether OTLP allows a retry of the same bytes. */
      isRetryable: boolean;
      /** Delay that the server asked for, milliseconds. */
      retryAfterMs?: number;
    };

export interface Sender {
  /** Sends one ExportTraceServiceRequest. Never rejects. */
  send(body: Uint8Array): Promise<SendResult>;
  close(): void;
}

export interface SenderOptions {
  endpoint: URL;
  tenant: string | undefined;
  /** Most requests in flight; limits the number of connections. */
  inFlightMax: number;
}

/** Returns the result of a request without a response: connection refused, reset or ended. */
export function noResponse(cause: unknown): SendResult {
  const error = cause instanceof Error ? cause : new SpoorError("Internal", String(cause));
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  const message = error.message || code;
  return { kind: "refused", reason: "connection", message, isRetryable: true };
}
