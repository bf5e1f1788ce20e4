/**
 * Codecs of the calls of shards.ts. A message contains each block once, even if several of its row
 * groups are named.
 */
import type { TagQuestion, TagsRequest } from "#pkg/api/api.ts";
import {
  type ErrorData,
  errorFromData,
  errorToData,
  foreignReason,
  type SpoorError,
} from "#pkg/errors/errors.ts";
import {
  bigInt,
  bool,
  bytes,
  type Codec,
  count,
  float,
  list,
  optional,
  record,
  text,
  variant,
  word,
} from "#pkg/wire/wire.ts";
import { tagCounts, tagQuestion, tagsRequest } from "./messages.ts";
import { type AnswerOf, type QuestionName, questionOf, type RequestOf } from "./question-table.ts";
import type {
  AsideSpans,
  BlockRef,
  FailedBlock,
  HeadRef,
  IndexedTags,
  Outcome,
  Outcomes,
  Partition,
  PinnedHeads,
  RowGroupRef,
  ShardAsk,
  ShardRef,
  StoredBlock,
  StoredSnapshot,
} from "./shards.ts";

/** Returns a codec that converts values to another type before encoding. */
function mapped<T, W>(codec: Codec<W>, to: (value: T) => W, from: (wire: W) => T): Codec<T> {
  return {
    write: (out, value) => codec.write(out, to(value)),
    read: (reader) => from(codec.read(reader)),
  };
}

const errorCode = word<ErrorData["code"]>([
  "NotFound",
  "InvalidInput",
  "Unauthenticated",
  "LimitExceeded",
  "TooLarge",
  "Unavailable",
  "Timeout",
  "Canceled",
  "Conflict",
  "Corrupt",
  "Internal",
]);

/** Codec of an error, without its cause. */
export const spoorError: Codec<SpoorError> = mapped(
  record<ErrorData>({
    code: errorCode,
    message: text,
    // A newer process may send unknown reasons.
    reason: mapped<ErrorData["reason"], string>(text, String, foreignReason),
    retryAfterMs: optional(float),
  }),
  errorToData,
  errorFromData,
);

const partition = record<Partition>({ index: count, count });

const facts = {
  name: text,
  partition,
  minStartNano: bigInt,
  maxStartNano: bigInt,
  maxEndNano: bigInt,
  maxTraceStartNano: optional(bigInt),
  spans: count,
  sizeBytes: count,
  disjoint: optional(text),
};

type Head = Omit<HeadRef, "kind">;

const head = record<Head>({
  ...facts,
  tenant: text,
  appId: text,
  toOffset: count,
  pin: record<HeadRef["pin"]>({ worker: text, pinId: count, headId: count }),
});

export const blockRef: Codec<BlockRef> = record<BlockRef>({
  tenant: text,
  path: text,
  sizeBytes: count,
  partition,
  indexOffset: count,
  footerOffset: count,
  factsCrc: count,
  bloom: record<BlockRef["bloom"]>({
    shards: count,
    bitsPerShard: count,
    hashes: count,
    offset: count,
    crcs: list(count),
  }),
});

/** A row group with the index of its block in the message. */
type WireGroup = Omit<RowGroupRef, "block"> & { block: number };
type WireShard = HeadRef | WireGroup;

const wireGroup = record<Omit<WireGroup, "kind">>({ ...facts, block: count, rowGroup: count });
const wireShard = variant<WireShard, "kind">("kind", { head, rowGroup: wireGroup });

/** The distinct blocks of a message. */
class Blocks {
  readonly list: BlockRef[] = [];
  readonly #indexes = new Map<BlockRef, number>();

  toWire(shard: ShardRef): WireShard {
    if (shard.kind === "head") return shard;
    let block = this.#indexes.get(shard.block);
    if (block === undefined) {
      block = this.list.push(shard.block) - 1;
      this.#indexes.set(shard.block, block);
    }
    return { ...shard, block };
  }
}

/** Returns a codec of values with shards; it writes their blocks first, each once. */
function withBlocks<T, W extends object>(
  codec: Codec<W>,
  to: (value: T, toWire: (shard: ShardRef) => WireShard) => W,
  from: (wire: W, refOf: (shard: WireShard) => ShardRef) => T,
): Codec<T> {
  const blockList = list(blockRef);
  return {
    write: (out, value) => {
      const blocks = new Blocks();
      const wire = to(value, (shard) => blocks.toWire(shard));
      blockList.write(out, blocks.list);
      codec.write(out, wire);
    },
    read: (reader) => {
      const blocks = blockList.read(reader);
      return from(codec.read(reader), (shard) => {
        if (shard.kind === "head") return shard;
        const block = blocks.at(shard.block);
        const { length } = blocks;
        if (block === undefined) throw reader.corrupt(`unknown block ${shard.block} of ${length}`);
        return { ...shard, block };
      });
    },
  };
}

/** Returns the codec of the argument of `ask`. */
export function asksOf<K extends QuestionName>(question: K): Codec<ShardAsk<K>[]> {
  const { request } = questionOf(question);
  type WireAsk = { shard: WireShard; request: RequestOf<K> };
  return withBlocks<ShardAsk<K>[], WireAsk[]>(
    list(
      record<{ shard: WireShard; request: unknown }>({
        shard: wireShard,
        request,
      }) as Codec<WireAsk>,
    ),
    (asks, toWire) => asks.map((ask) => ({ ...ask, shard: toWire(ask.shard) })),
    (wire, refOf) => wire.map((ask) => ({ ...ask, shard: refOf(ask.shard) })),
  );
}

/** Returns the codec of the result of `ask`. */
export function outcomesOf<K extends QuestionName>(question: K): Codec<Outcomes<AnswerOf<K>>> {
  const { answer } = questionOf(question);
  const outcome: Codec<Outcome<AnswerOf<K>>> = {
    write: (out, value) => {
      bool.write(out, "error" in value);
      if ("error" in value) {
        spoorError.write(out, value.error);
        return;
      }
      bool.write(out, value.isPruned === true);
      answer.write(out, value.answer);
    },
    read: (from) => {
      if (bool.read(from)) return { error: spoorError.read(from) };
      const isPruned = bool.read(from);
      const found = answer.read(from);
      return isPruned ? { answer: found, isPruned } : { answer: found };
    },
  };
  const outcomes = list(outcome);
  return {
    write: (out, value) => {
      outcomes.write(out, value.outcomes);
      count.write(out, value.readBytes);
      float.write(out, value.tookMs);
    },
    read: (from) => ({
      outcomes: outcomes.read(from),
      readBytes: count.read(from),
      tookMs: float.read(from),
    }),
  };
}

export type MayHoldCall = { block: BlockRef; ids: Uint8Array };

export const mayHoldCall: Codec<MayHoldCall> = record<MayHoldCall>({ block: blockRef, ids: bytes });

/** Codec of the result of `mayHold`. */
export const mayHoldMarks: Codec<Uint8Array> = bytes;

type Pinned = Omit<PinnedHeads, "release">;
type HeadWithKind = Extract<WireShard, HeadRef>;

const headRef: Codec<HeadRef> = mapped<HeadRef, Head>(
  head,
  (ref) => ref,
  (ref): HeadWithKind => ({ kind: "head", ...ref }),
);

/** Codec of the result of `pin`, without `release`. */
export const pinnedHeads: Codec<Pinned> = record<Pinned>({
  heads: list(headRef),
  tableVersion: mapped<number, bigint>(bigInt, BigInt, Number),
  incomplete: list(text),
  aside: optional(
    list(
      record<AsideSpans>({
        minStartNano: bigInt,
        maxEndNano: bigInt,
        traceIds: optional(bytes),
      }),
    ),
  ),
});

/** A block with its shards; the block index of each is 0. */
type WireBlock = Omit<StoredBlock, "shards"> & { shards: Omit<WireGroup, "kind">[] };

export const storedBlocks: Codec<readonly StoredBlock[]> = list(
  mapped<StoredBlock, WireBlock>(
    record<WireBlock>({
      path: text,
      sizeBytes: count,
      partition,
      minStartNano: bigInt,
      maxEndNano: bigInt,
      ref: blockRef,
      shards: list(wireGroup),
    }),
    (block) => ({ ...block, shards: block.shards.map((shard) => ({ ...shard, block: 0 })) }),
    (block) => ({
      ...block,
      shards: block.shards.map((shard) => ({ ...shard, kind: "rowGroup", block: block.ref })),
    }),
  ),
);

type WireSnapshot = Omit<StoredSnapshot, "transactions" | "version"> & {
  version: bigint;
  transactions: { appId: string; offset: number }[];
};

/** Codec of the result of `snapshot`. */
export const storedSnapshot: Codec<StoredSnapshot> = mapped<StoredSnapshot, WireSnapshot>(
  record<WireSnapshot>({
    version: bigInt,
    blocks: storedBlocks,
    failed: list(record<FailedBlock>({ path: text, message: text })),
    transactions: list(record<{ appId: string; offset: number }>({ appId: text, offset: count })),
  }),
  (snapshot) => ({
    ...snapshot,
    version: BigInt(snapshot.version),
    transactions: Array.from(snapshot.transactions, ([appId, offset]) => ({ appId, offset })),
  }),
  (wire) => ({
    ...wire,
    version: Number(wire.version),
    transactions: new Map(wire.transactions.map(({ appId, offset }) => [appId, offset])),
  }),
);

export type IndexedTagsCall = { blocks: readonly StoredBlock[]; request: TagsRequest };

export const indexedTagsCall: Codec<IndexedTagsCall> = record<IndexedTagsCall>({
  blocks: storedBlocks,
  request: tagsRequest,
});

type WireTags = {
  counts: Pick<IndexedTags, "groups" | "truncated" | "inspectedSpans">;
  unread: { shard: WireShard; question: TagQuestion }[];
  failed: { path: string; error: SpoorError }[];
  readBytes: number;
};

/** Codec of the result of `indexedTags`. */
export const indexedTagsAnswer: Codec<IndexedTags> = withBlocks<IndexedTags, WireTags>(
  record<WireTags>({
    counts: tagCounts,
    unread: list(record<WireTags["unread"][number]>({ shard: wireShard, question: tagQuestion })),
    failed: list(record<WireTags["failed"][number]>({ path: text, error: spoorError })),
    readBytes: count,
  }),
  ({ unread, failed, readBytes, ...counts }, toWire) => ({
    counts,
    unread: unread.map((one) => ({ ...one, shard: toWire(one.shard) })),
    failed,
    readBytes,
  }),
  ({ counts, unread, failed, readBytes }, refOf) => ({
    ...counts,
    unread: unread.map((one) => ({ ...one, shard: refOf(one.shard) as RowGroupRef })),
    failed,
    readBytes,
  }),
);
