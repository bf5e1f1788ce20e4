/** Where traces that were joined from several shards are evaluated. */
import { detailsOfJoined, type JoinedTraces } from "#pkg/engine/engine.ts";
import type { MergedTrace } from "./merge-details.ts";

/** Where whole traces are evaluated. Throws as `detailsOfJoined`; Canceled, Timeout. */
export type WholeTraces = (job: JoinedTraces, signal: AbortSignal) => Promise<MergedTrace[]>;

/** Evaluates them in this thread. */
export const wholeTracesHere: WholeTraces = async (job) => detailsOfJoined(job);
