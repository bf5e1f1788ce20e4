/** The contract between receivers (which speak protocols) and the distributor (which stores). */

export interface PushRequest {
  /** Whose spans these are: the receiver has found it (`pkg/tenant/access.ts`). */
  tenant: string;
  /**
   * An ExportTraceServiceRequest as protobuf, already inflated, not checked. It is the sink's from
   * here on: the receiver does not touch it again, and the sink may move it to another thread.
   */
  body: Uint8Array;
  /**
   * The key of the request as it was received (`requestKey` of pkg/spanlog/retry-memory.ts), by
   * which its retry is known. Absent: the body is what was received, and the sink makes the key.
   */
  key?: Uint8Array;
  /** Who received it, for metrics: "otlp_http", "otlp_grpc", "zipkin" ... */
  protocol: string;
  /** Address of the client, for lists of refusals. */
  peer?: string;
  /** Aborts when the client went away or its deadline passed. What is stored stays stored. */
  signal: AbortSignal;
}

export interface PushResult {
  /** Spans that are durable now. */
  acceptedSpans: number;
  /** Spans that were refused one by one; the client must not send them again. */
  rejectedSpans: number;
  /** English, for people; "" if there is nothing to say. May be a warning without rejections. */
  rejectedMessage: string;
}

export interface SpanSink {
  /**
   * Resolves when the accepted spans are durable. Throws SpoorError: InvalidInput (does not parse),
   * TooLarge, LimitExceeded and Unavailable (try again after
   * `retryAfterMs`), Timeout, Canceled. After an error the client may send the same bytes again.
   */
  push(request: PushRequest): Promise<PushResult>;
}
