/**
 * Wrappers of live and stored spans that encode and decode every request and response, as for
 * another process. They show values that are not plain data, and fields that a codec lacks.
 */
import { type Codec, decode, encode, text } from "#pkg/wire/wire.ts";
import {
  asksOf,
  indexedTagsAnswer,
  indexedTagsCall,
  mayHoldCall,
  mayHoldMarks,
  outcomesOf,
  pinnedHeads,
  storedSnapshot,
} from "./shard-codecs.ts";
import type { AskableShards, LiveSpans, StoredSpans } from "./shards.ts";

function passed<T>(codec: Codec<T>, value: T): T {
  return decode(codec, encode(codec, value));
}

function askOver(shards: AskableShards): AskableShards["ask"] {
  return async (question, asks, signal) => {
    const asked = passed(asksOf(question), [...asks]);
    return passed(outcomesOf(question), await shards.ask(question, asked, signal));
  };
}

export function liveOverWire(live: LiveSpans): LiveSpans {
  return {
    ask: askOver(live),
    pin: async (tenant, signal) => {
      const pinned = await live.pin(passed(text, tenant), signal);
      return { ...passed(pinnedHeads, pinned), release: () => pinned.release() };
    },
  };
}

export function storedOverWire(stored: StoredSpans): StoredSpans {
  return {
    ask: askOver(stored),
    snapshot: async (...args) => passed(storedSnapshot, await stored.snapshot(...args)),
    mayHold: async (block, ids, signal) => {
      const call = passed(mayHoldCall, { block, ids });
      return passed(mayHoldMarks, await stored.mayHold(call.block, call.ids, signal));
    },
    indexedTags: async (blocks, request, signal) => {
      const call = passed(indexedTagsCall, { blocks, request });
      return passed(indexedTagsAnswer, await stored.indexedTags(call.blocks, call.request, signal));
    },
  };
}
