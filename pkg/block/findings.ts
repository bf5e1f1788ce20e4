/** What `verifyBlock` finds wrong with a block, and how it is collected. */

/** Stable words for what is wrong: scripts and tests look at them, people read the message. */
export type FindingCause =
  /** The object's size is not what the commit says. */
  | "size"
  /** The file does not begin or end as a Parquet file. */
  | "magic"
  /** The index trailer, directory or a part of the index section is damaged. */
  | "trailer"
  | "directory"
  | "index_part"
  /** Written by a newer Spoor. */
  | "version"
  /** The Parquet footer is damaged or contradicts the index section. */
  | "footer"
  /** Pages or offset indexes whose bytes do not have their checksum. */
  | "checksum"
  /** Bytes that belong to nothing, or to two things. */
  | "layout"
  /** Checksums are right, but the Parquet reader refuses the data. */
  | "parquet"
  | "schema"
  | "utf8"
  /** A value that no span can have. */
  | "value"
  | "times"
  | "partition"
  | "order"
  | "tree"
  | "bloom"
  | "tag_index"
  /** The commit says something else than the block. */
  | "commit";

export interface Finding {
  cause: FindingCause;
  /** Which part of the block: "row group 0, column name". */
  place: string;
  message: string;
}

/** Findings of one block at the most. */
const findingsMax = 200;

/** Collects findings: the first of each cause and place, with the number of further ones. */
export class Findings {
  readonly #first = new Map<string, { finding: Finding; more: number }>();
  #leftOut = 0;

  add(cause: FindingCause, place: string, message: string): void {
    const key = `${cause}\n${place}`;
    const known = this.#first.get(key);
    if (known !== undefined) known.more++;
    else if (this.#first.size < findingsMax) {
      this.#first.set(key, { finding: { cause, place, message }, more: 0 });
    } else this.#leftOut++;
  }

  addAll(findings: readonly Finding[]): void {
    for (const { cause, place, message } of findings) this.add(cause, place, message);
  }

  get isEmpty(): boolean {
    return this.#first.size === 0;
  }

  list(): Finding[] {
    const out = [...this.#first.values()].map(({ finding, more }) =>
      more === 0 ? finding : { ...finding, message: `${finding.message} (and ${more} more)` },
    );
    if (this.#leftOut > 0) {
      const { cause } = out[0];
      out.push({ cause, place: "block", message: `${this.#leftOut} more findings left out` });
    }
    return out;
  }
}
