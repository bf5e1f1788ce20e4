/** The trace, start and duration of each span of a batch. */
import { type ColumnBatch, columnOf, type DictColumn } from "#pkg/columns/columns.ts";
import { SpoorError } from "#pkg/errors/errors.ts";

/** Returns the columns of traces and starts. Throws Corrupt if one is missing. */
export function spanStarts(batch: ColumnBatch): { traces: DictColumn; start: BigInt64Array } {
  const traces = columnOf(batch, "trace_id", "dict");
  const start = columnOf(batch, "start_unix_nano", "int64");
  if (traces === undefined || start === undefined) {
    throw new SpoorError("Corrupt", "a batch lacks trace_id or start_unix_nano");
  }
  return { traces, start: start.values };
}

export class SpanTimes {
  readonly traces: DictColumn;
  readonly start: BigInt64Array;
  readonly duration: BigInt64Array;

  constructor(batch: ColumnBatch) {
    const { traces, start } = spanStarts(batch);
    const duration = columnOf(batch, "duration_nano", "int64");
    if (duration === undefined) throw new SpoorError("Corrupt", "a batch lacks duration_nano");
    this.traces = traces;
    this.start = start;
    this.duration = duration.values;
  }

  end(row: number): bigint {
    return this.duration[row] > 0n ? this.start[row] + this.duration[row] : this.start[row];
  }

  overlaps(row: number, { startNano, endNano }: { startNano: bigint; endNano: bigint }): boolean {
    return this.start[row] < endNano && this.end(row) >= startNano;
  }
}

/** Compares two times. */
export function compareNano(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
