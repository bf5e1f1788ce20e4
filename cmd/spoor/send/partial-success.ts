/** Reads the response of OTLP servers to an accepted export. */
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
    throw new SpoorError("InvalidInput", `not an ExportTraceServiceResponse: ${why}`, {
      cause,
      reason,
    });
  }
}
