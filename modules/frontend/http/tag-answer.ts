/** Formats tag names and values as Tempo's JSON, with the metrics of Tempo 2.7. */
import type { TagsStats } from "#pkg/query/query.ts";

export interface AnswerBounds {
  /** Most names per scope, or most values; undefined: bounded by `bytesMax` only. */
  limit: number | undefined;
  /** Size of the whole response; items beyond it are left out. */
  bytesMax: number;
}

export interface TagAnswer {
  json: string;
  /** Whether items were left out because of `bytesMax`. */
  isCut: boolean;
}

/** One list of a response: names of a scope, or values. */
export interface TagList {
  name: string;
  texts: readonly string[];
}

/** A value of a tag. `count` is the number of spans that have it, if they were counted. */
export interface TypedText {
  kind: string;
  text: string;
  count?: number;
}

/** Formats the values of a tag for version 2 of the API, each with its type. */
export function formatTypedValues(
  values: readonly TypedText[],
  stats: TagsStats,
  { hasCounts, ...bounds }: AnswerBounds & { hasCounts: boolean },
): TagAnswer {
  const writer = new BoundedWriter(stats, bounds);
  const items = writer.take(values, ({ kind, text, count }) =>
    JSON.stringify({ type: kind, value: text, count: hasCounts ? count : undefined }),
  );
  return writer.answer(`"tagValues":[${items}]`);
}

/** Formats a list of texts for version 1 of the API. */
export function formatTexts(
  key: "tagNames" | "tagValues",
  texts: readonly string[],
  stats: TagsStats,
  bounds: AnswerBounds,
): TagAnswer {
  const writer = new BoundedWriter(stats, bounds);
  return writer.answer(`"${key}":[${writer.take(texts, quoted)}]`);
}

/** Formats names by scope for version 2 of the API. */
export function formatScopes(
  lists: readonly TagList[],
  stats: TagsStats,
  bounds: AnswerBounds,
): TagAnswer {
  const writer = new BoundedWriter(stats, bounds);
  const scopes = lists
    .filter(({ texts }) => texts.length > 0)
    .map(({ name, texts }) => {
      const tags = writer.take(texts, quoted);
      return `{"name":${JSON.stringify(name)},"tags":[${tags}]}`;
    });
  return writer.answer(`"scopes":[${scopes.join(",")}]`);
}

/** Approximate size of a response without its items and metrics, bytes. */
const frameBytes = 400;

/** Formats items until the response reaches its limit of items or bytes. */
class BoundedWriter {
  readonly #metrics: string;
  readonly #limit: number;
  #left: number;
  #isCut = false;

  constructor(stats: TagsStats, { limit, bytesMax }: AnswerBounds) {
    this.#metrics = JSON.stringify(metricsJson(stats));
    this.#limit = limit ?? Number.POSITIVE_INFINITY;
    this.#left = bytesMax - frameBytes - this.#metrics.length;
  }

  /** Returns as many items as the limit and the remaining bytes allow, joined by commas. */
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
