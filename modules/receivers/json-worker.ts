/** Worker thread: converts OTLP/JSON to protobuf. Buffers are transferred, not copied. */
import { move, transferableSymbol, valueSymbol } from "piscina";
import { type ErrorData, errorToData } from "#pkg/errors/errors.ts";
import { jsonToWire } from "#pkg/otlp/otlp.ts";
import { requestKey } from "#pkg/spanlog/spanlog.ts";

export interface JsonJob {
  tenant: string;
  json: Uint8Array;
}

/** A request as protobuf. The key is that of the received JSON, so a retry has an equal key. */
export interface KeyedWire {
  wire: Uint8Array;
  key: Uint8Array;
}

export type JsonJobResult = KeyedWire | { error: ErrorData };

/** Converts a body. Returns errors as data: structured clone would drop their code. */
export default function convert({ tenant, json }: JsonJob): JsonJobResult {
  try {
    const key = requestKey(tenant, json);
    // Copied to its exact size: the writer's buffer is larger, or part of a shared one.
    const wire = new Uint8Array(jsonToWire(json));
    const moved = { [transferableSymbol]: [wire.buffer], [valueSymbol]: { wire, key } };
    return move(moved as unknown as ArrayBuffer) as unknown as JsonJobResult;
  } catch (error) {
    return { error: errorToData(error) };
  }
}
