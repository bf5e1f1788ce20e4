/** What a thread answers of pinned heads: searches, and names and values of tags. */
import type {
  DetailsAnswer,
  ListTracesRequest,
  TraceDetailsRequest,
  TraceList,
} from "#pkg/api/query.ts";
import type { TagCounts, TagsRequest } from "#pkg/api/tags.ts";
import { type FilterTools, prepareFilter } from "#pkg/engine/prepare-filter.ts";
import { listTraces } from "#pkg/engine/list-traces.ts";
import { traceDetails } from "#pkg/engine/traces.ts";
import { countTags } from "#pkg/engine/tags.ts";
import { type Port, Rpc } from "#pkg/rpc/rpc.ts";
import { StopMark } from "#pkg/threads/stop-mark.ts";
import { RegexCache } from "#pkg/traceql/regex.ts";
import { allSpans, isInside, type PinnedData, spansOfTraces } from "./live-head.ts";

/** What pinned heads are asked, and what they answer. */
export interface LiveQuestions {
  listTraces: { request: ListTracesRequest; answer: TraceList };
  traceDetails: { request: TraceDetailsRequest; answer: DetailsAnswer };
  countTags: { request: TagsRequest; answer: TagCounts };
}

export type LiveQuestion = keyof LiveQuestions;

export interface LiveTask<K extends LiveQuestion = LiveQuestion> {
  question: K;
  head: PinnedData;
  request: LiveQuestions[K]["request"];
}

/** The same on its way to a thread. */
export interface LiveCall extends LiveTask {
  /** Buffer of a StopMark: nobody waits for the answer any more. */
  stop: SharedArrayBuffer;
}

/** Answers from the head alone. Throws InvalidInput `traceql_value`; Canceled once stopped. */
export function answerLive<K extends LiveQuestion>(
  { question, head, request }: LiveTask<K>,
  tools: FilterTools,
): LiveQuestions[K]["answer"] {
  const { filter } = request;
  const ready =
    filter === undefined ? request : { ...request, filter: prepareFilter(filter, tools) };
  const ways: { [Q in LiveQuestion]: (asked: never) => LiveQuestions[Q]["answer"] } = {
    listTraces: (asked: ListTracesRequest) =>
      listTraces(allSpans(head), asked, { isInside: isInside(head, asked) }),
    traceDetails: (asked: TraceDetailsRequest) => {
      const batch = spansOfTraces(head, asked.ids);
      return { traces: batch.rows === 0 ? [] : traceDetails(batch, asked), inspectedBytes: 0 };
    },
    countTags: (asked: TagsRequest) => countTags(allSpans(head), asked),
  };
  return ways[question](ready as never);
}

/** Serves the main thread's calls, one at a time, as they come. */
export function serveLive(port: Port): void {
  const regexes = new RegexCache();
  const ask = ({ stop, ...task }: LiveCall): unknown => {
    const mark = new StopMark(stop);
    return answerLive(task, { regexes, isStopped: () => mark.isSet });
  };
  void new Rpc(port, { ask });
}
