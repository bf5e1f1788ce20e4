/**
 * The questions of the query protocol, each declared once: how it is answered over the columns of a
 * head and over a row group of a block, and the codecs of request and answer. A new question is a
 * new entry of `questions`; all other code uses this table.
 */
import type {
  DetailsAnswer,
  FindTraceRequest,
  HeldTraces,
  HeldTracesRequest,
  ListTracesRequest,
  QueryPlan,
  TagCounts,
  TagsRequest,
  TraceDetailsRequest,
  TraceList,
} from "#pkg/api/api.ts";
import type { BlockIndex, BlockReader } from "#pkg/block/block.ts";
import { type Arena, ownBuffers } from "#pkg/bytes/bytes.ts";
import { arraysOf, type ColumnBatch, HeadBatch } from "#pkg/columns/columns.ts";
import {
  collectSpans,
  countRowGroupTags,
  countTags,
  detailsOfRowGroup,
  type FilterTools,
  findInRowGroup,
  findTrace,
  heldInRowGroup,
  heldTraces,
  listHead,
  listRowGroup,
  listTraces,
  mayHoldMatch,
  noTraces,
  prepareFilter,
  spansOfRowGroup,
  TagCounter,
  traceDetails,
  type TraceSpans,
  type TraceSpansRequest,
} from "#pkg/engine/engine.ts";
import type { FieldExpr } from "#pkg/traceql/traceql.ts";
import type { Codec, ValueOf } from "#pkg/wire/wire.ts";
import {
  detailsAnswer,
  detailsRequest,
  heldAnswer,
  heldRequest,
  listRequest,
  spansRequest,
  tagCounts,
  tagsRequest,
  traceAnswer,
  traceList,
  traceRequest,
  traceSpans,
} from "./messages.ts";

/** Columns of a head, and the range of its spans' starts. */
export interface HeadRows {
  batch: ColumnBatch;
  minStartNano: bigint;
  maxStartNano: bigint;
}

/** A row group of an open block. Answers do not use the arena's memory. */
export interface RowGroupRows {
  index: BlockIndex;
  reader: () => Promise<BlockReader>;
  rowGroup: number;
  arena?: Arena;
}

/** The answer of one shard, and how it was found. */
export interface Answered<A> {
  answer: A;
  /** The index alone showed that nothing matches. */
  isPruned?: boolean;
}

interface Question<Request, Answer> {
  request: Codec<Request>;
  answer: Codec<Answer>;
  /** Where heads answer: a look-up runs on the partition's thread, a search on another one. */
  ofHeads: "lookUp" | "search";
  /** Returns the only traces (16 bytes each) that the request is about; absent: all. */
  tracesOf?: (request: Request) => Uint8Array;
  /** Answers over a head. If `tracesOf` is present, the batch holds only the traces it returns. */
  overHead: (head: HeadRows, request: Request) => Answer;
  /** Whether the index alone often answers the request: the footer is then not read ahead. */
  isIndexFirst?: (request: Request) => boolean;
  overRowGroup: (rows: RowGroupRows, request: Request) => Promise<Answered<Answer>>;
  /** Returns the large arrays of an answer, which are transferred between threads, not copied. */
  arraysOf?: (answer: Answer) => readonly ArrayBufferView[];
  /**
   * Merges the answers of several shards. Absent if merging depends on the state of the search, as
   * for lists and details (pkg/query).
   */
  merge?: (answers: readonly Answer[], request: Request) => Answer;
}

/** The questions with their requests and answers. */
interface Questions {
  /** The traces with a matching span, newest first. */
  list: Question<ListTracesRequest, TraceList>;
  /** Details of some traces. */
  details: Question<TraceDetailsRequest, DetailsAnswer>;
  /** Which of some traces the shard has, at any time. */
  held: Question<HeldTracesRequest, HeldTraces>;
  /** The spans of some traces as columns, to be joined with those of other shards. */
  spans: Question<TraceSpansRequest, TraceSpans>;
  /** All spans of a trace in pieces of protobuf TracesData. */
  trace: Question<FindTraceRequest, Uint8Array[]>;
  /** Names or values of tags. */
  countTags: Question<TagsRequest, TagCounts>;
}

export const questions: Questions = {
  list: {
    request: listRequest,
    answer: traceList,
    ofHeads: "search",
    overHead: ({ batch, minStartNano, maxStartNano }, request) => {
      const isInside = minStartNano >= request.startNano && maxStartNano < request.endNano;
      return batch instanceof HeadBatch
        ? listHead(batch, request, { isInside })
        : listTraces(batch, request, { isInside });
    },
    arraysOf: ({ ids, startNanos, maybes }) =>
      maybes === undefined ? [ids, startNanos] : [ids, startNanos, maybes.ids, maybes.startNanos],
    isIndexFirst: ({ plan }) => plan !== undefined,
    overRowGroup: async ({ index, reader, rowGroup, arena }, request) => {
      const { plan } = request;
      const isPossible = plan === undefined || (await mayHoldMatch(index, rowGroup, plan.filter));
      if (!isPossible) return { answer: noTraces, isPruned: true };
      return { answer: await listRowGroup(await reader(), rowGroup, request, arena) };
    },
  },

  details: {
    request: detailsRequest,
    answer: detailsAnswer,
    ofHeads: "search",
    tracesOf: ({ ids }) => ids,
    overHead: ({ batch }, request) => ({
      traces: batch.rows === 0 ? [] : traceDetails(batch, request),
    }),
    overRowGroup: async ({ reader, rowGroup, arena }, request) => ({
      answer: await detailsOfRowGroup(await reader(), rowGroup, request, arena),
    }),
  },

  held: {
    request: heldRequest,
    answer: heldAnswer,
    ofHeads: "lookUp",
    tracesOf: ({ ids }) => ids,
    overHead: ({ batch }, { ids }) => ({
      marks: batch.rows === 0 ? new Uint8Array(ids.length / 16) : heldTraces(batch, ids),
    }),
    overRowGroup: async ({ reader, rowGroup, arena }, { ids }) => ({
      answer: await heldInRowGroup(await reader(), rowGroup, ids, arena),
    }),
    merge: (answers, { ids }) => {
      const marks = new Uint8Array(ids.length / 16);
      for (const one of answers) one.marks.forEach((mark, i) => (marks[i] |= mark));
      return { marks };
    },
  },

  spans: {
    request: spansRequest,
    answer: traceSpans,
    ofHeads: "search",
    tracesOf: ({ ids }) => ids,
    overHead: ({ batch }, request) => collectSpans(batch, request),
    arraysOf: ({ batch }) => arraysOf(batch),
    overRowGroup: async ({ reader, rowGroup, arena }, request) => ({
      answer: await spansOfRowGroup(await reader(), rowGroup, request, arena),
    }),
  },

  trace: {
    request: traceRequest,
    answer: traceAnswer,
    ofHeads: "lookUp",
    tracesOf: ({ traceId }) => traceId,
    arraysOf: (pieces) => pieces,
    overHead: ({ batch }, { traceId, bytesMax }) =>
      batch.rows === 0 ? [] : findTrace(batch, traceId, bytesMax),
    overRowGroup: async ({ reader, rowGroup }, request) => ({
      answer: await findInRowGroup(await reader(), rowGroup, request),
    }),
  },

  countTags: {
    request: tagsRequest,
    answer: tagCounts,
    ofHeads: "search",
    overHead: ({ batch }, request) => countTags(batch, request),
    isIndexFirst: () => true,
    overRowGroup: async ({ rowGroup, ...block }, request) => ({
      answer: await countRowGroupTags(block, rowGroup, request),
    }),
    merge: (answers, { bytesMax }) => {
      const counter = new TagCounter(bytesMax);
      for (const one of answers) counter.addCounts(one);
      const inspectedSpans = answers.reduce((sum, one) => sum + one.inspectedSpans, 0);
      return { ...counter.counts(), inspectedSpans };
    },
  },
};

export type QuestionName = keyof Questions;

export type RequestOf<K extends QuestionName> = ValueOf<Questions[K]["request"]>;
export type AnswerOf<K extends QuestionName> = ValueOf<Questions[K]["answer"]>;

const table: { [K in QuestionName]: Question<RequestOf<K>, AnswerOf<K>> } = questions;

/** Returns the declaration of a question. */
export function questionOf<K extends QuestionName>(name: K): Question<RequestOf<K>, AnswerOf<K>> {
  return table[name];
}

/** Returns the buffers of an answer that can be transferred to another thread. */
export function buffersOf<K extends QuestionName>(question: K, answer: AnswerOf<K>): ArrayBuffer[] {
  return ownBuffers(questionOf(question).arraysOf?.(answer) ?? []);
}

/** Returns a function that prepares the conditions of requests, each shared condition once. */
export function requestPreparer(tools: FilterTools): <R>(request: R) => R {
  const known = new Map<FieldExpr, FieldExpr>();
  const prepared = (filter: FieldExpr): FieldExpr => {
    const ready = known.get(filter) ?? prepareFilter(filter, tools);
    known.set(filter, ready);
    return ready;
  };
  return (request) => {
    const { filter, plan } = request as { filter?: FieldExpr; plan?: QueryPlan };
    if (plan !== undefined) {
      const { prefilter } = plan;
      const ready = { ...plan, filter: prepared(plan.filter) };
      if (prefilter !== undefined) ready.prefilter = prepared(prefilter);
      return { ...request, plan: ready };
    }
    return filter === undefined ? request : { ...request, filter: prepared(filter) };
  };
}
