/**
 * Every question that shards are asked, declared once: how it is answered over the columns of a
 * head, how over a row group of a block, and how request and answer become bytes. A new question is
 * a new line of `questions`; everything on its way goes by this table.
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

/** Columns of a head, and when its spans start. */
export interface HeadRows {
  batch: ColumnBatch;
  minStartNano: bigint;
  maxStartNano: bigint;
}

/** A row group of an open block. Nothing of an answer is in the arena. */
export interface RowGroupRows {
  index: BlockIndex;
  reader: () => Promise<BlockReader>;
  rowGroup: number;
  arena?: Arena;
}

/** What one shard answers, and what is told of how it came to that. */
export interface Answered<A> {
  answer: A;
  /** The index alone told that nothing matches. */
  isPruned?: boolean;
}

interface Question<Request, Answer> {
  request: Codec<Request>;
  answer: Codec<Answer>;
  /** A head looks it up on its partition's thread, or is searched on a thread of its own. */
  ofHeads: "lookUp" | "search";
  /** The only traces (16 bytes each) that it is about; absent: all. */
  tracesOf?: (request: Request) => Uint8Array;
  /** Over a head; of the asked traces only, if it is about some. */
  overHead: (head: HeadRows, request: Request) => Answer;
  /** Often answered by the index alone: the footer need not be read ahead. */
  isIndexFirst?: (request: Request) => boolean;
  overRowGroup: (rows: RowGroupRows, request: Request) => Promise<Answered<Answer>>;
  /** Arrays of an answer that may be large: they are moved from thread to thread, not copied. */
  arraysOf?: (answer: Answer) => readonly ArrayBufferView[];
  /**
   * Answers of several shards as one, where these do not depend on what the asker knows of other
   * shards already, as lists and details do (modules/frontend).
   */
  merge?: (answers: readonly Answer[], request: Request) => Answer;
}

/** Each question with what it asks and what is answered. */
interface Questions {
  /** Which traces there are, newest first. */
  list: Question<ListTracesRequest, TraceList>;
  /** What is known of some traces. */
  details: Question<TraceDetailsRequest, DetailsAnswer>;
  /** Which of some traces there are, whatever the time of their spans. */
  held: Question<HeldTracesRequest, HeldTraces>;
  /** The spans of some traces as columns: what is joined where traces lie in several shards. */
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

/** The declaration of a question. */
export function questionOf<K extends QuestionName>(name: K): Question<RequestOf<K>, AnswerOf<K>> {
  return table[name];
}

/** Buffers of an answer that can be moved to another thread. */
export function buffersOf<K extends QuestionName>(question: K, answer: AnswerOf<K>): ArrayBuffer[] {
  return ownBuffers(questionOf(question).arraysOf?.(answer) ?? []);
}

/** Prepares the conditions of some requests; equal ones of them once. */
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
