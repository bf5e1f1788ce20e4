/** The findings of `verifyBlock`, and a collector for them. */

/** Stable identifiers of kinds of damage, for scripts and tests. The message is for people. */
export type FindingCause =
  /** The object's size differs from the commit's. */
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
  /** The checksum of a page or an offset index does not match. */
  | "checksum"
  /** Bytes belong to no part of the file, or to two parts. */
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
  /** The commit contradicts the block. */
  | "commit";

export interface Finding {
  cause: FindingCause;
  /** Which part of the block: "row group 0, column name". */
  place: string;
  message: string;
}

/** Most findings of one block. */
const findingsMax = 200;

/** Collects findings. Keeps the first of each cause and place, and counts the others. */
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
