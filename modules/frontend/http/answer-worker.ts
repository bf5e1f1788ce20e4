/** Worker thread of AnswerPool. Buffers are transferred, not copied. */
import { move, transferableSymbol, valueSymbol } from "piscina";
import { type ErrorData, errorToData } from "#pkg/errors/errors.ts";
import { RegexCache } from "#pkg/traceql/regex.ts";
import { detailsOfJoined, type JoinedTraces } from "#pkg/engine/engine.ts";
import type { MergedTrace } from "#pkg/query/query.ts";
import { type ParamsJob, type ParsedParams, parseParams } from "./read-params.ts";
import { type TraceAnswerJob, traceAnswerChunks } from "./trace-answer.ts";

export type AnswerJob =
  | ({ kind: "trace" } & TraceAnswerJob)
  | { kind: "params"; job: ParamsJob }
  | { kind: "details"; job: JoinedTraces };

export type AnswerJobResult = Uint8Array[] | ParsedParams | MergedTrace[] | { error: ErrorData };

const regexes = new RegexCache();

export default function work(job: AnswerJob): AnswerJobResult {
  try {
    switch (job.kind) {
      case "trace":
        return moved(traceAnswerChunks(job));
      case "params":
        return parseParams(job.job, regexes);
      default:
        return detailsOfJoined(job.job);
    }
  } catch (error) {
    return { error: errorToData(error) };
  }
}

/** Transfers the chunks, copying those that are part of a larger buffer. */
function moved(chunks: Uint8Array[]): Uint8Array[] {
  const own = chunks.map((chunk) => (isWhole(chunk) ? chunk : new Uint8Array(chunk)));
  const message = {
    [transferableSymbol]: own.map(({ buffer }) => buffer as ArrayBuffer),
    [valueSymbol]: own,
  };
  return move(message as never) as unknown as Uint8Array[];
}

function isWhole({ buffer, length }: Uint8Array): boolean {
  return buffer.byteLength === length;
}
