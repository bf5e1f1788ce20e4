/** The contract between receivers, which implement protocols, and the distributor, which stores. */

export interface PushRequest {
  /** The tenant of the spans, determined by the receiver (`pkg/tenant/access.ts`). */
  tenant: string;
  /**
   * An ExportTraceServiceRequest as protobuf, decompressed but not validated. The sink owns it: the
   * receiver does not use it again, and the sink may transfer it to another thread.
   */
  body: Uint8Array;
  /**
   * The key of the received request (`requestKey` of pkg/spanlog/retry-memory.ts), which identifies
   * its retries. Absent: `body` is the request as received, and the sink computes the key.
   */
  key?: Uint8Array;
  /** The receiver, for metrics: "otlp_http", "otlp_grpc", "zipkin" ... */
  protocol: string;
  /** Address of the client, for the list of rejected requests. */
  peer?: string;
  /** Aborts when the client disconnects or its deadline passes. Stored spans stay stored. */
  signal: AbortSignal;
}

export interface PushResult {
  /** Spans that are durable. */
  acceptedSpans: number;
  /** Spans that were rejected individually; the client must not send them again. */
  rejectedSpans: number;
  /** English message for people; may be "", or a warning without rejections. */
  rejectedMessage: string;
}

export interface SpanSink {
  /**
   * Stores spans; resolves when the accepted spans are durable. Throws InvalidInput (malformed),
   * TooLarge, LimitExceeded and Unavailable (retry after `retryAfterMs`), Timeout, Canceled. After
   * an error the client may send the same bytes again.
   */
  push(request: PushRequest): Promise<PushResult>;
}
