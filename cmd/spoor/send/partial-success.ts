/** Reads what OTLP servers answer to an export that they took. */
import { fromBinary } from "@bufbuild/protobuf";
import { SpoorError } from "#pkg/errors/errors.ts";
import { ExportTraceServiceResponseSchema } from "#pkg/pb/otlp/export_pb.ts";

export interface PartialSuccess {
  rejectedSpans: number;
  message: string;
}

/** Reads an ExportTraceServiceResponse. Throws InvalidInput. */
export function readPartialSuccess(bytes: Uint8Array): PartialSuccess {
  try {
    const { partialSuccess } = fromBinary(ExportTraceServiceResponseSchema, bytes);
    return {
      rejectedSpans: Number(partialSuccess?.rejectedSpans ?? 0n),
      message: partialSuccess?.errorMessage ?? "",
    };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const reason = "invalid_protobuf";
    throw new SpoorError("InvalidInput", `not an answer to an export: ${why}`, { cause, reason });
  }
}
