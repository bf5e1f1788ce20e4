/**
 * The door of pkg/questions: the query protocol.
 */
export {
  type AnswerOf,
  type Answered,
  type QuestionName,
  type RequestOf,
  buffersOf,
  questionOf,
  requestPreparer,
} from "./question-table.ts";
export type {
  AsideSpans,
  BlockRef,
  FailedBlock,
  HeadRef,
  IndexedTags,
  LiveSpans,
  Outcome,
  Outcomes,
  Partition,
  PinnedHeads,
  ShardAsk,
  ShardRef,
  StoredBlock,
  StoredSnapshot,
  StoredSpans,
} from "./shards.ts";
export { storedBlock } from "./stored-block.ts";
