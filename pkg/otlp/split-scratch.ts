// HOT: runs per span; measured by `npm run bench` (split).
/**
 * Reused memory of one split: the positions of spans and envelope fields in the request, as
 * parallel arrays of byte offsets.
 *
 *     resource r   ranges resourceRangeFrom[r] .. resourceRangeTo[r]: fields without scope_spans
 *     scope s      ranges scopeRangeFrom[s] .. scopeRangeTo[s]: its fields without spans
 *     span i       bytes spanStart[i] .. spanEnd[i] with tag and length, scope, partition
 */

/** Larger lists are freed before the next request, entries. */
const keptEntriesMax = 65_536;

/** A growing array of 32-bit integers. */
export class IntList {
  values: Int32Array = new Int32Array(64);
  length = 0;

  push(value: number): void {
    if (this.length === this.values.length) this.#grow(this.length * 2);
    this.values[this.length++] = value;
  }

  /** Sets the length; added values are unspecified. */
  resize(length: number): void {
    if (length > this.values.length) this.#grow(length);
    this.length = length;
  }

  clear(): void {
    if (this.values.length > keptEntriesMax) this.values = new Int32Array(64);
    this.length = 0;
  }

  #grow(entries: number): void {
    const grown = new Int32Array(entries);
    grown.set(this.values);
    this.values = grown;
  }
}

/** The lists of one split. `splitRequest` clears them. Not for concurrent use. */
export class SplitScratch {
  readonly spanStart: IntList = new IntList();
  readonly spanEnd: IntList = new IntList();
  readonly spanScope: IntList = new IntList();
  readonly spanPartition: IntList = new IntList();
  readonly scopeResource: IntList = new IntList();
  readonly scopeRangeFrom: IntList = new IntList();
  readonly scopeRangeTo: IntList = new IntList();
  readonly scopeRanges: IntList = new IntList();
  readonly resourceRangeFrom: IntList = new IntList();
  readonly resourceRangeTo: IntList = new IntList();
  readonly resourceRanges: IntList = new IntList();
  /** Span indexes, grouped by partition. */
  readonly order: IntList = new IntList();
  /** Sizes of the messages of one partition's record, in writing order. */
  readonly scopeBytes: IntList = new IntList();
  readonly resourceBytes: IntList = new IntList();

  clear(): void {
    for (const list of Object.values(this)) (list as IntList).clear();
  }
}
