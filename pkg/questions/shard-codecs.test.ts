import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import { type Codec, decode, encode } from "#pkg/wire/codec.ts";
import { randomCondition, randomFrom } from "#pkg/engine/testing/random-filter.ts";
import { parseLeniently } from "#pkg/traceql/traceql.ts";
import { fieldExpr } from "./filter-codec.ts";
import { type QuestionName, questions } from "./question-table.ts";
import {
  asksOf,
  indexedTagsAnswer,
  indexedTagsCall,
  mayHoldCall,
  mayHoldMarks,
  outcomesOf,
  pinnedHeads,
  spoorError,
  storedSnapshot,
} from "./shard-codecs.ts";
import type { BlockRef, HeadRef, RowGroupRef, ShardAsk } from "./shards.ts";

const partition = { index: 1, count: 4 };
const facts = {
  name: "one",
  partition,
  minStartNano: -5n,
  maxStartNano: 2n ** 62n,
  maxEndNano: 2n ** 64n,
  maxTraceStartNano: 2n ** 61n,
  spans: 7,
  sizeBytes: 9,
};
const block: BlockRef = {
  tenant: "t",
  path: "blocks/a.parquet",
  sizeBytes: 2 ** 40,
  partition,
  indexOffset: 5,
  footerOffset: 6,
  factsCrc: 2 ** 32 - 1,
  bloom: { shards: 2, bitsPerShard: 64, hashes: 3, offset: 4, crcs: [0, 2 ** 32 - 1] },
};
const group: RowGroupRef = { ...facts, kind: "rowGroup", block, rowGroup: 3, disjoint: "a" };
const pin = { worker: "w", pinId: 1, headId: 2 };
const head: HeadRef = { ...facts, kind: "head", tenant: "t", appId: "log/4/1", toOffset: 8, pin };

const names = Object.keys(questions) as QuestionName[];

/** Codecs of all messages, to be fed with random bytes. */
const codecs: Codec<unknown>[] = [
  ...names.map((name) => asksOf(name) as Codec<unknown>),
  ...names.map((name) => outcomesOf(name) as Codec<unknown>),
  mayHoldCall as Codec<unknown>,
  mayHoldMarks as Codec<unknown>,
  pinnedHeads as Codec<unknown>,
  storedSnapshot as Codec<unknown>,
  indexedTagsCall as Codec<unknown>,
  indexedTagsAnswer as Codec<unknown>,
  fieldExpr as Codec<unknown>,
];

describe("messages about shards", () => {
  it("contain a block once, and decode its row groups to one shared block", () => {
    const request = { ids: Uint8Array.of(1, 2) };
    const asks: ShardAsk<"held">[] = [group, { ...group, rowGroup: 4 }, head].map((shard) => ({
      shard,
      request,
    }));
    const bytes = encode(asksOf("held"), asks);
    const read = decode(asksOf("held"), bytes);
    expect(read).toEqual(asks);
    const groups = read.map(({ shard }) => (shard.kind === "head" ? undefined : shard.block));
    expect(groups[0]).toBe(groups[1]);
    expect(Buffer.from(bytes).toString("latin1").split(block.path)).toHaveLength(2);
  });

  it("are rejected if they refer to a block that they do not contain", () => {
    const asks: ShardAsk<"held">[] = [{ shard: group, request: { ids: new Uint8Array(0) } }];
    const bytes = encode(asksOf("held"), asks);
    // The last bytes: index of the block, row group, no ids.
    bytes[bytes.length - 3] = 1;
    expect(() => decode(asksOf("held"), bytes)).toThrow(
      expect.objectContaining({ code: "Corrupt", reason: "wire" }),
    );
  });

  it("carry errors with their code, reason and retry delay", () => {
    const error = new SpoorError("LimitExceeded", "too many", {
      reason: "queue_full",
      retryAfterMs: 1000,
    });
    const { code, message, reason, retryAfterMs } = decode(spoorError, encode(spoorError, error));
    expect([code, message, reason, retryAfterMs]).toEqual([
      "LimitExceeded",
      "too many",
      "queue_full",
      1000,
    ]);
  });

  it("carry every condition that can be written", () => {
    const random = randomFrom(5);
    let carried = 0;
    for (let i = 0; i < 300; i++) {
      const { filter } = parseLeniently(`{ ${randomCondition(random)} }`);
      if (filter === undefined) continue;
      carried++;
      expect(decode(fieldExpr, encode(fieldExpr, filter))).toEqual(filter);
    }
    expect(carried).toBeGreaterThan(100);
  });

  it("of random bytes cause a typed error, or decode", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (tail) => {
        const bytes = Uint8Array.of(1, ...tail);
        for (const codec of codecs) {
          try {
            decode(codec, bytes);
          } catch (error) {
            expect(error).toMatchObject({ code: "Corrupt", reason: "wire" });
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
