/** Worker thread: encodes answers with large traces. Buffers are moved, not copied. */
import { move } from "piscina";
import { type ErrorData, errorToData } from "#pkg/errors/errors.ts";
import { encodeTraceAnswer, type TraceAnswerJob } from "./trace-answer.ts";

export type AnswerJobResult = Uint8Array | { error: ErrorData };

export default function encode(job: TraceAnswerJob): AnswerJobResult {
  try {
    return move(new Uint8Array(encodeTraceAnswer(job))) as Uint8Array;
  } catch (error) {
    return { error: errorToData(error) };
  }
}
