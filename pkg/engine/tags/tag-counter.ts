/** Distinct names or values with their counts, in bounded memory. */
import type { TagCounts, TagGroup } from "#pkg/api/api.ts";

/** Bytes of a text in addition to its characters. */
const textOverhead = 80;

export class TagCounter {
  readonly #bytesMax: number;
  readonly #groups = new Map<TagGroup["kind"], Map<string, number>>();
  #sizeBytes = 0;
  #isTruncated = false;

  /** @param bytesMax Memory for the texts. When it is exceeded, the rarest texts are dropped. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Adds to the count of a text. Ignores the empty text: an editor cannot search for it. */
  add(kind: TagGroup["kind"], text: string, count: number): void {
    if (text === "" || count === 0) return;
    let texts = this.#groups.get(kind);
    if (texts === undefined) this.#groups.set(kind, (texts = new Map()));
    const known = texts.get(text);
    texts.set(text, (known ?? 0) + count);
    if (known !== undefined) return;
    this.#sizeBytes += sizeOf(text);
    if (this.#sizeBytes <= this.#bytesMax) return;
    this.#isTruncated = true;
    this.#shrink(this.#bytesMax / 2);
  }

  addCounts({ groups, truncated }: Pick<TagCounts, "groups" | "truncated">): void {
    for (const { kind, texts, counts } of groups) {
      for (let i = 0; i < texts.length; i++) this.add(kind, texts[i], counts[i]);
    }
    if (truncated) this.noteTruncated();
  }

  /** Records that the source of the counts had left out some texts. */
  noteTruncated(): void {
    this.#isTruncated = true;
  }

  /**
   * Returns the counts, to be added to another counter. If texts were dropped, also drops the
   * rarest of the others: their counts would be of little use.
   */
  counts(): Pick<TagCounts, "groups" | "truncated"> {
    if (this.#isTruncated) this.#shrink(this.#bytesMax / 8);
    const groups = [...this.#groups].map(([kind, texts]): TagGroup => {
      return { kind, texts: [...texts.keys()], counts: Float64Array.from(texts.values()) };
    });
    return { groups, truncated: this.#isTruncated };
  }

  /** Whether texts were left out. */
  get isTruncated(): boolean {
    return this.#isTruncated;
  }

  /** Returns the counts, most frequent first, then by text. */
  sorted(): TagValue[] {
    const all: TagValue[] = [];
    for (const [kind, texts] of this.#groups) {
      for (const [text, count] of texts) all.push({ kind, text, count });
    }
    return all.sort(compareTagValues);
  }

  /** Keeps the most frequent texts. Of those with the lowest count kept, some are dropped. */
  #shrink(bytesMax: number): void {
    if (this.#sizeBytes <= bytesMax) return;
    const least = this.#leastCount(bytesMax);
    let room = bytesMax;
    for (const texts of this.#groups.values()) {
      for (const [text, count] of texts) if (count > least) room -= sizeOf(text);
    }
    for (const texts of this.#groups.values()) {
      for (const [text, count] of texts) {
        if (count > least) continue;
        const size = sizeOf(text);
        if (count === least && room >= size) room -= size;
        else texts.delete(text);
      }
    }
    this.#sizeBytes = bytesMax - room;
  }

  /** Returns the highest count whose texts do not all fit; all more frequent texts fit. */
  #leastCount(bytesMax: number): number {
    const sizeByCount = new Map<number, number>();
    for (const texts of this.#groups.values()) {
      for (const [text, count] of texts) {
        sizeByCount.set(count, (sizeByCount.get(count) ?? 0) + sizeOf(text));
      }
    }
    let left = bytesMax;
    for (const [count, size] of [...sizeByCount].sort(([a], [b]) => b - a)) {
      left -= size;
      if (left < 0) return count;
    }
    return 0;
  }
}

function sizeOf(text: string): number {
  return text.length * 2 + textOverhead;
}

export interface TagValue {
  kind: TagGroup["kind"];
  text: string;
  count: number;
}

function compareTagValues(a: TagValue, b: TagValue): number {
  return b.count - a.count || compareTexts(a.text, b.text) || compareTexts(a.kind, b.kind);
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
