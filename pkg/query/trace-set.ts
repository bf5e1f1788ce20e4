/** Traces grouped by partition, so that a shard is asked only for traces of its partition. */
import { setImmediate } from "node:timers/promises";
import { partitionOf, traceIdBytes } from "#pkg/otlp/otlp.ts";

export interface PartitionTraces {
  /** Their indexes among all traces. */
  at: readonly number[];
  /** Their ids in the same order, 16 bytes each. */
  ids: Uint8Array;
}

/** Traces handled before yielding to the event loop: about 1 ms of work. */
export const tracesPerTurn = 2048;

/** Converts ids of 32 hex digits to bytes, 16 each. */
export function idsOfTexts(texts: readonly string[]): Uint8Array {
  return new Uint8Array(Buffer.from(texts.join(""), "hex"));
}

export class TraceSet {
  readonly #ids: Uint8Array;
  /** By partition count, then by partition index. */
  readonly #byCount = new Map<number, PartitionTraces[]>();

  private constructor(ids: Uint8Array) {
    this.#ids = ids;
  }

  /**
   * Groups the traces; yields to the event loop every `tracesPerTurn` traces.
   *
   * @param ids 16 bytes each.
   * @param counts The partition counts of all shards.
   */
  static async of(ids: Uint8Array, counts: ReadonlySet<number>): Promise<TraceSet> {
    const set = new TraceSet(ids);
    for (const count of counts) set.#byCount.set(count, await set.#split(count));
    return set;
  }

  /** Returns the traces of one partition; the object is shared by all callers. */
  in({ index, count }: { index: number; count: number }): PartitionTraces {
    return this.#byCount.get(count)![index] ?? nothing;
  }

  async #split(count: number): Promise<PartitionTraces[]> {
    const places: number[][] = [];
    const all = this.#ids;
    for (let i = 0; i < all.length / traceIdBytes; i++) {
      (places[partitionOf(all, i * traceIdBytes, count)] ??= []).push(i);
      if (i % tracesPerTurn === tracesPerTurn - 1) await setImmediate();
    }
    const split: PartitionTraces[] = [];
    places.forEach((at, index) => {
      const ids = new Uint8Array(at.length * traceIdBytes);
      for (let i = 0; i < at.length; i++) {
        const from = at[i] * traceIdBytes;
        for (let b = 0; b < traceIdBytes; b++) ids[i * traceIdBytes + b] = all[from + b];
      }
      split[index] = { at, ids };
    });
    return split;
  }
}

const nothing: PartitionTraces = { at: [], ids: new Uint8Array(0) };
