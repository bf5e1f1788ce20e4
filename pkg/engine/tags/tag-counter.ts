/** Distinct names or values with their counts, in bounded memory. */
import type { TagCounts, TagGroup } from "#pkg/api/api.ts";

/** What a text takes beside its characters, bytes. */
const textOverhead = 80;

export class TagCounter {
  readonly #bytesMax: number;
  readonly #groups = new Map<TagGroup["kind"], Map<string, number>>();
  #sizeBytes = 0;
  #isTruncated = false;

  /** @param bytesMax memory for the texts; when it is used up, the rarest of them are dropped. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The empty text is no value: nobody can ask for it in an editor. */
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

  /** Something is missing that was never given. */
  noteTruncated(): void {
    this.#isTruncated = true;
  }

  /**
   * What is known, for another counter. Where some were left out, the rarest of the others are of
   * little use to it.
   */
  counts(): Pick<TagCounts, "groups" | "truncated"> {
    if (this.#isTruncated) this.#shrink(this.#bytesMax / 8);
    const groups = [...this.#groups].map(([kind, texts]): TagGroup => {
      return { kind, texts: [...texts.keys()], counts: Float64Array.from(texts.values()) };
    });
    return { groups, truncated: this.#isTruncated };
  }

  /** Whether something was left out. */
  get isTruncated(): boolean {
    return this.#isTruncated;
  }

  /** Most frequent first, then by text. */
  sorted(): TagValue[] {
    const all: TagValue[] = [];
    for (const [kind, texts] of this.#groups) {
      for (const [text, count] of texts) all.push({ kind, text, count });
    }
    return all.sort(compareTagValues);
  }

  /** Keeps the most frequent ones. Of those that are as frequent as the last ones, some. */
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

  /** The count of which not all texts have room: all that are more frequent have. */
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
