/** Worker thread: splits a large request. Buffers are transferred, not copied. */
import { move, transferableSymbol, valueSymbol } from "piscina";
import { type ErrorData, errorToData } from "#pkg/errors/errors.ts";
import { splitRequest, type SplitResult } from "#pkg/otlp/otlp.ts";
import { requestKey } from "#pkg/spanlog/spanlog.ts";

/** The parts of a request. The key is that of the received body, so a retry has an equal key. */
export interface KeyedSplit extends SplitResult {
  key: Uint8Array;
}

export interface SplitJob {
  tenant: string;
  body: Uint8Array;
  /** The request key; computed from the body if undefined. */
  key: Uint8Array | undefined;
  partitionCount: number;
}

export type SplitJobResult = { split: KeyedSplit } | { error: ErrorData };

/** Splits a body. Returns errors as data: structured clone would drop their code. */
export default function split({ tenant, body, partitionCount, ...job }: SplitJob): SplitJobResult {
  try {
    const key = job.key ?? requestKey(tenant, body);
    // No scratch is kept: after a large request it would stay large.
    const result = splitRequest(body, { partitionCount });
    const buffers = result.parts.map(({ record }) => record.buffer as ArrayBuffer);
    const moved = { [transferableSymbol]: buffers, [valueSymbol]: { split: { ...result, key } } };
    return move(moved as unknown as ArrayBuffer) as unknown as SplitJobResult;
  } catch (error) {
    return { error: errorToData(error) };
  }
}
