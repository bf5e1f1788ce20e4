/** Sends OTLP/gRPC on one HTTP/2 connection, which is reopened when it ends. */
import { GrpcClient, grpcStatus } from "#pkg/grpc/grpc.ts";
import { readPartialSuccess } from "./partial-success.ts";
import { noResponse, type SendResult, type Sender, type SenderOptions } from "./sender.ts";

const exportPath = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const timeoutMs = 60_000;
const answerBytesMax = 1024 * 1024;

/** https://opentelemetry.io/docs/specs/otlp/#failures; 8 only if the server sends a delay. */
const retryableStatuses = [1, 4, 10, 11, 14, 15];

export function openGrpcSender({ endpoint, tenant }: SenderOptions): Sender {
  const metadata: Record<string, string> = tenant === undefined ? {} : { "x-scope-orgid": tenant };
  const client = new GrpcClient({ origin: endpoint.origin, metadata, timeoutMs, answerBytesMax });
  return {
    send: async (body) => {
      try {
        return await send(client, body);
      } catch (error) {
        return noResponse(error);
      }
    },
    close: () => client.close(),
  };
}

async function send(client: GrpcClient, body: Uint8Array): Promise<SendResult> {
  const { status, message } = await client.call(exportPath, body);
  const { code, reason, retryAfterMs } = status;
  if (code === grpcStatus.ok) return { kind: "stored", ...readPartialSuccess(message) };
  const isExhausted = code === grpcStatus.resourceExhausted && retryAfterMs !== undefined;
  return {
    kind: "refused",
    reason: reason ?? `grpc_${code}`,
    message: status.message,
    isRetryable: isExhausted || retryableStatuses.includes(code),
    retryAfterMs,
  };
}
