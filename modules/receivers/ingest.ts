/** The way of every OTLP request after its bytes are read: inflate, JSON to protobuf, sink. */
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

/** What the servers of all protocols share. */
export interface ReceiverParts {
  config: OtlpReceiverConfig;
  sink: SpanSink;
  access: Access;
  log: Log;
  refusals: Refusals;
  metrics: ReceiverMetrics;
  inFlight: InFlight;
  jsonPool: JsonPool;
  /** Of bodies that are inflated in the thread pool. */
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

/** A longer JSON body than this has something in it. */
const emptyJsonBytesMax = 256;

/** Resolves when the sink has stored the spans. Throws SpoorError. */
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

/** Whether a request says itself that it has no spans. */
function isEmptyRequest(body: Uint8Array, format: BodyFormat): boolean {
  if (body.length === 0) return true;
  if (format === "protobuf" || body.length > emptyJsonBytesMax) return false;
  const text = Buffer.from(body.buffer, body.byteOffset, body.length).toString("utf8");
  return /^\s*\{\s*(?:"resourceSpans"\s*:\s*\[\s*\]\s*)?\}\s*$/.test(text);
}

/** Fields that are not known are skipped, as protobuf wants it: a misspelt one loses all spans. */
function noSpans(sizeBytes: number, format: BodyFormat): string {
  const field = format === "json" ? '"resourceSpans"' : "resource_spans (1)";
  return `no span found in ${sizeBytes} bytes: an ExportTraceServiceRequest has them in ${field}`;
}

/**
 * Turns what was thrown into what the client is told; counts and logs it. An abort's own reason
 * (client gone, deadline) counts, not how the sink put it.
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
  // Lines about refusals come at a bounded rate: there may be thousands per second.
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

/** Counts and lists what was refused before it was a request for spans. */
export function refuseMalformed(
  parts: ReceiverParts,
  metrics: ProtocolMetrics,
  { protocol, peer, reason, message }: Malformed,
): void {
  metrics.malformed(reason);
  parts.refusals.note({ tenant: "", reason, message, source: protocol, peer });
}

/** The last resort: even the answer of an error failed. The connection is then closed. */
export function logUnanswered(log: Log, protocol: string, thrown: unknown): void {
  const { message, stack } = toSpoorError(thrown);
  log.error({ protocol, error: message, stack }, "request could not be answered");
}
