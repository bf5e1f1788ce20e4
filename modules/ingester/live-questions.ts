/** Answers questions about pinned heads on a thread. */
import type { FilterTools } from "#pkg/engine/engine.ts";
import {
  type AnswerOf,
  buffersOf,
  type QuestionName,
  questionOf,
  type RequestOf,
  requestPreparer,
} from "#pkg/questions/questions.ts";
import { type Port, Rpc, StopMark, Transferred } from "#pkg/threads/threads.ts";
import { RegexCache } from "#pkg/traceql/regex.ts";
import { allSpans, type PinnedData, spansOfTraces } from "./live-head.ts";

export interface LiveTask<K extends QuestionName = QuestionName> {
  question: K;
  head: PinnedData;
  request: RequestOf<K>;
}

/** A task as it is sent to a thread. */
export interface LiveCall extends LiveTask {
  /** Buffer of a StopMark, which is set when the caller no longer waits. */
  stop: SharedArrayBuffer;
}

/** Answers a task from its head. Throws InvalidInput `traceql_value`, and Canceled once stopped. */
export function answerLive<K extends QuestionName>(
  { question, head, request }: LiveTask<K>,
  tools: FilterTools,
): AnswerOf<K> {
  const { tracesOf, overHead } = questionOf(question);
  const ids = tracesOf?.(request);
  const batch = ids === undefined ? allSpans(head) : spansOfTraces(head, ids);
  const { minStartNano, maxStartNano } = head.info;
  return overHead({ batch, minStartNano, maxStartNano }, requestPreparer(tools)(request));
}

/** Serves the main thread's calls, one at a time, in order of arrival. */
export function serveLive(port: Port): void {
  const regexes = new RegexCache();
  const ask = ({ stop, ...task }: LiveCall): unknown => {
    const mark = new StopMark(stop);
    const answer = answerLive(task, { regexes, isStopped: () => mark.isSet });
    return new Transferred(answer, buffersOf(task.question, answer));
  };
  void new Rpc(port, { ask });
}
