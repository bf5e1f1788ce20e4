/** Worker thread: converts OTLP/JSON to protobuf. Buffers are moved in and out, not copied. */
import { move } from "piscina";
import { type ErrorData, errorToData } from "#pkg/errors/errors.ts";
import { jsonToWire } from "#pkg/otlp/json-decode.ts";

export type JsonJobResult = Uint8Array | { error: ErrorData };

/** Errors go back as data: structured clone would drop their code. */
export default function convert(json: Uint8Array): JsonJobResult {
  try {
    // A copy of the exact size: the writer's buffer has room to grow, or is part of a shared one.
    return move(new Uint8Array(jsonToWire(json))) as Uint8Array;
  } catch (error) {
    return { error: errorToData(error) };
  }
}
