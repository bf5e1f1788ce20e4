/** The way of every OTLP request after its bytes are read: inflate, JSON to protobuf, sink. */
import { errorTable, SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { Refusals } from "#pkg/limits/refusals.ts";
import type { Log } from "#pkg/log/log.ts";
import type { PushResult, SpanSink } from "#pkg/api/ingest.ts";
import { answerFor, type BodyFormat } from "./answers.ts";
import type { OtlpReceiverConfig } from "./config.ts";
import type { InFlight, Lease } from "./in-flight.ts";
import { type Encoding, inflate } from "./inflate.ts";
import type { JsonPool } from "./json-pool.ts";
import type { ProtocolMetrics, ReceiverMetrics } from "./metrics.ts";

/** What the servers of all protocols share. */
export interface ReceiverParts {
  config: OtlpReceiverConfig;
  sink: SpanSink;
  log: Log;
  refusals: Refusals;
  metrics: ReceiverMetrics;
  inFlight: InFlight;
  jsonPool: JsonPool;
}

export interface IngestInput {
  body: Uint8Array;
  encoding: Encoding;
  format: BodyFormat;
  tenantHeaders: string[];
  protocol: string;
  metrics: ProtocolMetrics;
  lease: Lease;
  signal: AbortSignal;
}

/** Resolves when the sink has stored the spans. Throws SpoorError. */
export async function ingest(parts: ReceiverParts, input: IngestInput): Promise<PushResult> {
  const { body, encoding, format, lease, signal } = input;
  const { bodyBytesMax: bytesMax } = parts.config;
  const inflated = await inflate(body, { encoding, bytesMax, lease });
  let wire = inflated;
  if (format === "json") {
    lease.resize(lease.bytes + inflated.length);
    wire = await parts.jsonPool.toWire(inflated);
  }
  signal.throwIfAborted();
  lease.resize(wire.length);
  input.metrics.received(body.length, wire.length);
  const { tenantHeaders, protocol } = input;
  return parts.sink.push({ tenantHeaders, body: wire, protocol, signal });
}

/**
 * Turns what was thrown into what the client is told; counts and logs it. An abort's own reason
 * (client gone, deadline) counts, not how the sink put it.
 */
export function refuse(
  parts: ReceiverParts,
  thrown: unknown,
  { metrics, protocol, signal, startedMs }: RefuseInput,
): SpoorError {
  const reason: unknown = signal.aborted ? signal.reason : undefined;
  const error = reason instanceof SpoorError ? reason : toSpoorError(thrown);
  metrics.refused(error, (performance.now() - startedMs) / 1000);
  const fields = { protocol, code: error.code, reason: error.reason, error: error.message };
  if (errorTable[error.code].logLevel === "error") {
    parts.log.error({ ...fields, stack: error.stack }, "request failed");
  } else parts.log.debug(fields, "request refused");
  // Lines about refusals come at a bounded rate: there may be thousands per second.
  if (error.code !== "Canceled") parts.refusals.noteError(error, { tenant: "", source: protocol });
  return answerFor(error, parts.config.retryAfterMs);
}

export interface RefuseInput {
  metrics: ProtocolMetrics;
  protocol: string;
  signal: AbortSignal;
  startedMs: number;
}

/** The last resort: even the answer of an error failed. The connection is then closed. */
export function logUnanswered(log: Log, protocol: string, thrown: unknown): void {
  const { message, stack } = toSpoorError(thrown);
  log.error({ protocol, error: message, stack }, "request could not be answered");
}
