/** Sends OTLP requests to any backend; tells what became of each, as an SDK's exporter sees it. */
import { SpoorError } from "#pkg/errors/errors.ts";

export type SendAnswer =
  | { kind: "stored"; rejectedSpans: number; message: string }
  | {
      kind: "refused";
      /** A short word: the server's own if it has told one, else e.g. `http_503`, `connection`. */
      reason: string;
      message: string;
      /** Whether the same bytes may be sent again, by the rules of OTLP. */
      isRetryable: boolean;
      /** How long the server wants to be left alone. */
      retryAfterMs?: number;
    };

export interface Sender {
  /** Sends one ExportTraceServiceRequest. Never rejects. */
  send(body: Uint8Array): Promise<SendAnswer>;
  close(): void;
}

export interface SenderOptions {
  endpoint: URL;
  tenant: string | undefined;
  /** Requests at a time, so that connections are enough and not too many. */
  inFlightMax: number;
}

/** The answer when there was none: connection refused, reset, ended. */
export function noAnswer(cause: unknown): SendAnswer {
  const error = cause instanceof Error ? cause : new SpoorError("Internal", String(cause));
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  const message = error.message || code;
  return { kind: "refused", reason: "connection", message, isRetryable: true };
}
