/** Names and values of tags as Tempo's JSON, with the metrics that Tempo 2.7 has. */
import type { TagsStats } from "#pkg/query/query.ts";

export interface AnswerBounds {
  /** Most names per scope, or most values; undefined: no bound but the bytes. */
  limit: number | undefined;
  /** Of the whole answer; what has no room is left out. */
  bytesMax: number;
}

export interface TagAnswer {
  json: string;
  /** Whether something had no room. */
  isCut: boolean;
}

/** One list of an answer: names of a scope, or values. */
export interface TagList {
  name: string;
  texts: readonly string[];
}

/** A value of a tag; `count` of its spans, where they were counted and asked for. */
export interface TypedText {
  kind: string;
  text: string;
  count?: number;
}

/** Values of a tag as the second API shows them: their type beside each. */
export function formatTypedValues(
  values: readonly TypedText[],
  stats: TagsStats,
  { hasCounts, ...bounds }: AnswerBounds & { hasCounts: boolean },
): TagAnswer {
  const room = new Room(stats, bounds);
  const items = room.take(values, ({ kind, text, count }) =>
    JSON.stringify({ type: kind, value: text, count: hasCounts ? count : undefined }),
  );
  return room.answer(`"tagValues":[${items}]`);
}

/** A list of texts, as the first API answers. */
export function formatTexts(
  key: "tagNames" | "tagValues",
  texts: readonly string[],
  stats: TagsStats,
  bounds: AnswerBounds,
): TagAnswer {
  const room = new Room(stats, bounds);
  return room.answer(`"${key}":[${room.take(texts, quoted)}]`);
}

/** Names by scope, as the second API answers. */
export function formatScopes(
  lists: readonly TagList[],
  stats: TagsStats,
  bounds: AnswerBounds,
): TagAnswer {
  const room = new Room(stats, bounds);
  const scopes = lists
    .filter(({ texts }) => texts.length > 0)
    .map(({ name, texts }) => {
      const tags = room.take(texts, quoted);
      return `{"name":${JSON.stringify(name)},"tags":[${tags}]}`;
    });
  return room.answer(`"scopes":[${scopes.join(",")}]`);
}

/** What the frame of an answer takes beside its items, bytes: about. */
const frameBytes = 400;

/** The bytes that an answer may still take. */
class Room {
  readonly #metrics: string;
  readonly #limit: number;
  #left: number;
  #isCut = false;

  constructor(stats: TagsStats, { limit, bytesMax }: AnswerBounds) {
    this.#metrics = JSON.stringify(metricsJson(stats));
    this.#limit = limit ?? Number.POSITIVE_INFINITY;
    this.#left = bytesMax - frameBytes - this.#metrics.length;
  }

  /** As many items as the limit and the room allow, joined. */
  take<T>(items: readonly T[], format: (item: T) => string): string {
    const kept: string[] = [];
    for (const one of items) {
      if (kept.length >= this.#limit) break;
      const item = format(one);
      const bytes = Buffer.byteLength(item) + 1;
      if (bytes > this.#left) {
        this.#isCut = true;
        break;
      }
      this.#left -= bytes;
      kept.push(item);
    }
    return kept.join(",");
  }

  answer(content: string): TagAnswer {
    return { json: `{${content},"metrics":${this.#metrics}}`, isCut: this.#isCut };
  }
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function metricsJson(stats: TagsStats): object {
  return {
    inspectedBytes: String(stats.inspectedBytes),
    totalJobs: stats.totalJobs,
    completedJobs: stats.completedJobs,
    totalBlocks: stats.totalBlocks,
    totalBlockBytes: String(stats.totalBlockBytes),
  };
}
