// HOT: runs per request; measured by `npm run bench` (receive).
/** OTLP/gRPC: `TraceService/Export` and the health service, on a server of pkg/grpc. */
import { type GrpcMethod, GrpcServer, Health, type UnaryCall } from "#pkg/grpc/grpc.ts";
import type { Listener } from "#pkg/listen/listen.ts";
import { ExportTraceServiceResponseSchema } from "#pkg/pb/otlp/export_pb.ts";
import { encodeResponse } from "./answers.ts";
import { ingest, logUnanswered, type ReceiverParts, refuse, refuseMalformed } from "./ingest.ts";
import type { ProtocolMetrics } from "./metrics.ts";

const protocol = "otlp_grpc";
const traceService = "opentelemetry.proto.collector.trace.v1.TraceService";

export class OtlpGrpcServer implements Listener {
  readonly #parts: ReceiverParts;
  readonly #metrics: ProtocolMetrics;
  readonly #health = new Health([traceService]);
  readonly #server: GrpcServer;
  /** The methods of this port. */
  readonly methods: readonly GrpcMethod[];

  constructor(parts: ReceiverParts) {
    const { config, log } = parts;
    const metrics = parts.metrics.forProtocol(protocol);
    this.#parts = parts;
    this.#metrics = metrics;
    this.methods = [this.#export(), ...this.#health.methods()];
    this.#server = new GrpcServer({
      ...parts,
      ...config,
      address: { host: config.host, port: config.grpcPort },
      methods: this.methods,
      noteRefused: (refused) => refuseMalformed(parts, metrics, { protocol, ...refused }),
      refuse: (thrown, call) => refuse(parts, thrown, { metrics, protocol, ...call }),
      noteUnanswered: (error) => logUnanswered(log, protocol, error),
    });
  }

  start(): Promise<number> {
    return this.#server.start();
  }

  stop(): Promise<void> {
    this.#health.stop();
    return this.#server.stop();
  }

  kill(): void {
    this.#server.kill();
  }

  #export(): GrpcMethod {
    return {
      service: traceService,
      method: "Export",
      right: "write",
      request: "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest",
      answer: ExportTraceServiceResponseSchema.typeName,
      kind: "unary",
      requestBytesMax: this.#parts.config.bodyBytesMax,
      handle: (call) => this.#ingest(call),
    };
  }

  async #ingest({
    message,
    viewer,
    lease,
    signal,
    peer,
    startedMs,
  }: UnaryCall): Promise<Uint8Array> {
    const metrics = this.#metrics;
    const { bytes: body, encoding } = message;
    const tenant = viewer.tenant!;
    const input = { tenant, body, encoding, protocol, peer, metrics, lease, signal };
    const result = await ingest(this.#parts, { ...input, format: "protobuf" });
    // An aborted call was already counted as refused.
    if (!signal.aborted) metrics.stored(result, (performance.now() - startedMs) / 1000);
    return encodeResponse(result, "protobuf") as Uint8Array;
  }
}
