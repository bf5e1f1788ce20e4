/** Some traces by the partition that they are in, so that a shard is asked for its own only. */
import { setImmediate } from "node:timers/promises";
import { partitionOf } from "#pkg/otlp/otlp.ts";
import type { KnownTrace } from "./candidates.ts";

export interface PartitionTraces {
  traces: readonly KnownTrace[];
  /** Their ids in the same order, 16 bytes each. */
  ids: Uint8Array;
}

/** Traces handled before other work has its turn: about 1 ms. */
export const tracesPerTurn = 2048;

export class TraceSet {
  readonly #traces: readonly KnownTrace[];
  readonly #ids: Uint8Array;
  /** By how many partitions there are, and then by partition. */
  readonly #byCount = new Map<number, PartitionTraces[]>();

  private constructor(traces: readonly KnownTrace[], ids: Uint8Array) {
    this.#traces = traces;
    this.#ids = ids;
  }

  /** @param counts how many partitions the shards say there are. */
  static async of(traces: readonly KnownTrace[], counts: ReadonlySet<number>): Promise<TraceSet> {
    const ids = Buffer.alloc(traces.length * 16);
    for (let i = 0; i < traces.length; i++) {
      ids.write(traces[i].id, i * 16, "hex");
      if (i % tracesPerTurn === tracesPerTurn - 1) await setImmediate();
    }
    const set = new TraceSet(traces, ids);
    for (const count of counts) set.#byCount.set(count, await set.#split(count));
    return set;
  }

  /** Those of one partition: the same object each time. */
  in({ index, count }: { index: number; count: number }): PartitionTraces {
    return this.#byCount.get(count)![index] ?? nothing;
  }

  async #split(count: number): Promise<PartitionTraces[]> {
    const places: number[][] = [];
    for (let i = 0; i < this.#traces.length; i++) {
      (places[partitionOf(this.#ids, i * 16, count)] ??= []).push(i);
      if (i % tracesPerTurn === tracesPerTurn - 1) await setImmediate();
    }
    const split: PartitionTraces[] = [];
    places.forEach((own, index) => {
      const ids = new Uint8Array(own.length * 16);
      own.forEach((at, i) => ids.set(this.#ids.subarray(at * 16, at * 16 + 16), i * 16));
      split[index] = { traces: own.map((at) => this.#traces[at]), ids };
    });
    return split;
  }
}

const nothing: PartitionTraces = { traces: [], ids: new Uint8Array(0) };
