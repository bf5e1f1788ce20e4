/** Handles every OTLP request after its body is read: inflate, convert JSON, push to the sink. */
import { errorTable, SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { Refusals } from "#pkg/limits/limits.ts";
import type { Log } from "#pkg/log/log.ts";
import type { PushResult, SpanSink } from "#pkg/api/api.ts";
import type { Access } from "#pkg/tenant/tenant.ts";
import { answerFor, type BodyFormat } from "./answers.ts";
import type { OtlpReceiverConfig } from "./config.ts";
import {
  type Encoding,
  inflate,
  type InFlight,
  type Lease,
  type Turns,
} from "#pkg/listen/listen.ts";
import type { JsonPool } from "./json-pool.ts";
import type { ProtocolMetrics, ReceiverMetrics } from "./metrics.ts";

/** Dependencies shared by the servers of all protocols. */
export interface ReceiverParts {
  config: OtlpReceiverConfig;
  sink: SpanSink;
  access: Access;
  log: Log;
  refusals: Refusals;
  metrics: ReceiverMetrics;
  inFlight: InFlight;
  jsonPool: JsonPool;
  /** Bounds the bodies that are inflated in the thread pool at the same time. */
  turns: Turns;
}

export interface IngestInput {
  body: Uint8Array;
  encoding: Encoding;
  format: BodyFormat;
  tenant: string;
  protocol: string;
  /** Address of the client. */
  peer: string;
  metrics: ProtocolMetrics;
  lease: Lease;
  signal: AbortSignal;
}

/** A JSON body longer than this is not empty. */
const emptyJsonBytesMax = 256;

/**
 * Inflates and converts a request and pushes it to the sink. Resolves when the spans are durable.
 * Throws SpoorError.
 */
export async function ingest(parts: ReceiverParts, input: IngestInput): Promise<PushResult> {
  const { tenant, body, encoding, format, lease, signal } = input;
  const { bodyBytesMax: bytesMax } = parts.config;
  const inflated = await inflate(body, { encoding, bytesMax, lease, turns: parts.turns });
  let wire = inflated;
  let key: Uint8Array | undefined;
  if (format === "json") {
    lease.resize(lease.bytes + inflated.length);
    ({ wire, key } = await parts.jsonPool.toWire(tenant, inflated));
  }
  signal.throwIfAborted();
  lease.resize(wire.length);
  input.metrics.received(body.length, wire.length);
  const { protocol, peer } = input;
  const isNothingExpected = isEmptyRequest(inflated, format);
  const result = await parts.sink.push({ tenant, body: wire, key, protocol, peer, signal });
  if (isNothingExpected || result.acceptedSpans + result.rejectedSpans > 0) return result;
  return { ...result, rejectedMessage: noSpans(inflated.length, format) };
}

/** Returns whether a request is empty on purpose. */
function isEmptyRequest(body: Uint8Array, format: BodyFormat): boolean {
  if (body.length === 0) return true;
  if (format === "protobuf" || body.length > emptyJsonBytesMax) return false;
  const text = Buffer.from(body.buffer, body.byteOffset, body.length).toString("utf8");
  return /^\s*\{\s*(?:"resourceSpans"\s*:\s*\[\s*\]\s*)?\}\s*$/.test(text);
}

/**
 * Returns the message for a body without spans. Unknown fields are skipped, as protobuf requires,
 * so a misspelt field name loses all spans.
 */
function noSpans(sizeBytes: number, format: BodyFormat): string {
  const field = format === "json" ? '"resourceSpans"' : "resource_spans (1)";
  return `no span found in ${sizeBytes} bytes: an ExportTraceServiceRequest has spans in ${field}`;
}

/**
 * Converts a thrown value to the error for the client, and counts and logs it. If the signal was
 * aborted, its reason (client gone, deadline) is the error, whatever the sink threw.
 */
export function refuse(
  parts: ReceiverParts,
  thrown: unknown,
  { metrics, protocol, peer, signal, startedMs }: RefuseInput,
): SpoorError {
  const reason: unknown = signal.aborted ? signal.reason : undefined;
  const error = reason instanceof SpoorError ? reason : toSpoorError(thrown);
  metrics.refused(error, (performance.now() - startedMs) / 1000);
  const fields = { protocol, code: error.code, reason: error.reason, error: error.message };
  if (errorTable[error.code].logLevel === "error") {
    parts.log.error({ ...fields, stack: error.stack }, "request failed");
  } else parts.log.debug(fields, "request refused");
  // Refusals are logged at a bounded rate: there may be thousands per second.
  if (error.code !== "Canceled") {
    parts.refusals.noteError(error, { tenant: "", source: protocol, peer });
  }
  return answerFor(error, parts.config.retryAfterMs);
}

export interface RefuseInput {
  metrics: ProtocolMetrics;
  protocol: string;
  peer: string;
  signal: AbortSignal;
  startedMs: number;
}

export interface Malformed {
  protocol: string;
  peer: string;
  reason: string;
  message: string;
}

/** Counts and lists bytes or a request that were refused before an OTLP request was recognized. */
export function refuseMalformed(
  parts: ReceiverParts,
  metrics: ProtocolMetrics,
  { protocol, peer, reason, message }: Malformed,
): void {
  metrics.malformed(reason);
  parts.refusals.note({ tenant: "", reason, message, source: protocol, peer });
}

/** Logs that even the error response failed. The caller closes the connection. */
export function logUnanswered(log: Log, protocol: string, thrown: unknown): void {
  const { message, stack } = toSpoorError(thrown);
  log.error({ protocol, error: message, stack }, "request could not be answered");
}
