/** Evaluation of traces that were joined from several shards. */
import { detailsOfJoined, type JoinedTraces } from "#pkg/engine/engine.ts";
import type { MergedTrace } from "./merge-details.ts";

/** Evaluates joined traces. Throws as `detailsOfJoined` does, and Canceled or Timeout. */
export type WholeTraces = (job: JoinedTraces, signal: AbortSignal) => Promise<MergedTrace[]>;

/** Evaluates joined traces in the calling thread. */
export const wholeTracesHere: WholeTraces = async (job) => detailsOfJoined(job);
