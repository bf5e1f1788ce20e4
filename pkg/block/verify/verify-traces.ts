/** Verifies all trace ids of a block together: partition, uniqueness and bloom. */
import { partitionOf, traceIdBytes } from "#pkg/otlp/otlp.ts";
import { BloomShard, bloomShard, traceIdHasher } from "#pkg/block/index/bloom.ts";
import type { Findings } from "./findings.ts";
import type { Directory } from "#pkg/block/index/index-section.ts";

export class TraceCheck {
  readonly #directory: Directory;
  readonly #findings: Findings;
  readonly #shards: (BloomShard | undefined)[];
  /** Trace id as latin1 text -> row group. */
  readonly #seen = new Map<string, number>();

  /** An undefined shard was already reported as damaged and is skipped. */
  constructor(
    directory: Directory,
    shards: readonly (Uint8Array | undefined)[],
    findings: Findings,
  ) {
    this.#directory = directory;
    this.#findings = findings;
    const { bloom } = directory;
    this.#shards = shards.map((bytes, i) => {
      if (bytes === undefined) return undefined;
      if (bytes.length * 8 === bloom.bitsPerShard) {
        return new BloomShard(bloom, bytes, traceIdHasher);
      }
      findings.add("bloom", `bloom shard ${i}`, `it has ${bytes.length * 8} bits`);
      return undefined;
    });
  }

  /** Checks the trace ids of one row group, 16 bytes each. */
  add(rowGroup: number, ids: Uint8Array): void {
    const findings = this.#findings;
    const { partition, bloom } = this.#directory;
    const place = `row group ${rowGroup}`;
    const isPowerOfTwo = partition.count > 0 && (partition.count & (partition.count - 1)) === 0;
    if (!isPowerOfTwo || partition.index >= partition.count) {
      const message = `partition ${partition.index} of ${partition.count} is impossible`;
      findings.add("partition", "index directory", message);
    }
    for (let at = 0; at < ids.length; at += traceIdBytes) {
      const id = ids.subarray(at, at + traceIdBytes);
      const hex = Buffer.from(id).toString("hex");
      const other = this.#seen.get(hex);
      if (other !== undefined && other !== rowGroup) {
        findings.add("order", place, `trace ${hex} is in row group ${other} too`);
      }
      this.#seen.set(hex, rowGroup);
      const index = partitionOf(id, 0, partition.count);
      if (isPowerOfTwo && index !== partition.index) {
        const message = `trace ${hex} belongs to partition ${index}, not ${partition.index}`;
        findings.add("partition", place, message);
      }
      const shard = bloomShard(bloom, id, traceIdHasher);
      if (this.#shards[shard]?.mayHold(id) === false) {
        findings.add("bloom", `bloom shard ${shard}`, `trace ${hex} is missing`);
      }
    }
  }
}
