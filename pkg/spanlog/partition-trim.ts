/**
 * The positions of the consumers of one partition, and the removal of records that no consumer with
 * a claim needs. Each trim, by any consumer, takes the claims of those that lag behind too much.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { FormerSegments } from "./former-segments.ts";
import { segmentName } from "./format.ts";
import {
  assertOwner,
  claimLostError,
  isOwnerLost,
  writeFailed,
  type LogContext,
} from "./log-context.ts";
import type { LogFs } from "./log-fs.ts";
import type { PartitionLog } from "./partition-log.ts";
import { writeSidecar, type Sidecar } from "./retry-sidecar.ts";
import type { Segment, SegmentWriter } from "./segment-writer.ts";
import { type ConsumerPosition, isOffset, type TrimState, writeTrimState } from "./state-file.ts";

/** Initial state of trimming. */
export interface TrimStart {
  state: TrimState;
  sidecars: Sidecar[];
  former: FormerSegments;
}

export class PartitionTrim {
  readonly #context: LogContext;
  readonly #log: PartitionLog;
  readonly #writer: SegmentWriter;
  #state: TrimState;
  #sidecars: Sidecar[];
  readonly former: FormerSegments;
  /** Consumer -> number of lost claims. */
  readonly #claimsLost = new Map<string, number>();
  /** Settles when the last trim is done; never rejects. */
  #lastTrim: Promise<unknown> = Promise.resolve();

  constructor(
    context: LogContext,
    log: PartitionLog,
    writer: SegmentWriter,
    { state, sidecars, former }: TrimStart,
  ) {
    this.#context = context;
    this.#log = log;
    this.#writer = writer;
    // A consumer that is no longer registered retains no records.
    const others = context.consumers.map(({ name }) => {
      const known = state.others.get(name);
      return [name, known ?? { position: state.trimmedTo, isLost: false }] as const;
    });
    this.#state = { ...state, others: new Map(others) };
    this.#sidecars = sidecars;
    this.former = former;
  }

  /** The durable state. */
  get state(): TrimState {
    return this.#state;
  }

  /** Trims for the ingesters. */
  trim(upTo: number, committed: Record<string, number>): Promise<void> {
    return this.#inTurn(() => {
      const map = new Map(Object.entries(committed));
      this.#refuseBeyondEnd(upTo, map);
      const ingesterTo = Math.max(upTo, this.#state.ingesterTo);
      return this.#moveTo({ ...this.#state, ingesterTo, committed: map });
    });
  }

  /** Trims for another consumer. */
  trimOf(name: string, upTo: number): Promise<void> {
    return this.#inTurn(() => {
      this.#refuseBeyondEnd(upTo, new Map());
      const { position, isLost } = this.#positionOf(name);
      if (isLost) throw claimLostError(name, this.#writer.folder, position);
      return this.#moveTo(this.#with(name, { position: Math.max(upTo, position), isLost }));
    });
  }

  /** Restores a lost claim of a consumer; returns the offset that it continues from. */
  rejoin(name: string): Promise<number> {
    return this.#inTurn(async () => {
      const { position, isLost } = this.#positionOf(name);
      if (!isLost) return position;
      const oldest = Math.max(position, this.#state.trimmedTo);
      const again = this.#isLate(name, oldest) ? this.#log.durableEnd : oldest;
      await this.#moveTo(this.#with(name, { position: again, isLost: false }));
      return again;
    });
  }

  position(name: string): ConsumerPosition {
    return this.#positionOf(name);
  }

  claimsLost(name: string): number {
    return this.#claimsLost.get(name) ?? 0;
  }

  /** Returns the records and bytes of files that are kept for a consumer at `position`. */
  behind(position: number): { records: number; bytes: number } {
    const records = Math.max(0, this.#log.durableEnd - position);
    if (records === 0) return { records, bytes: 0 };
    const { segments } = this.#writer;
    const first = segments.findLastIndex(({ firstOffset }) => firstOffset <= position);
    const kept = segments.slice(Math.max(first, 0));
    return { records, bytes: kept.reduce((sum, { bytes }) => sum + bytes, 0) };
  }

  #inTurn<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#lastTrim.then(job);
    this.#lastTrim = result.catch(() => undefined);
    return result;
  }

  #positionOf(name: string): ConsumerPosition {
    return this.#state.others.get(name)!;
  }

  #with(name: string, position: ConsumerPosition): TrimState {
    return { ...this.#state, others: new Map(this.#state.others).set(name, position) };
  }

  /** Waits for trims in flight. */
  async idle(): Promise<void> {
    await this.#lastTrim;
  }

  #refuseBeyondEnd(upTo: number, committed: ReadonlyMap<string, number>): void {
    const { folder } = this.#writer;
    if (!isOffset(upTo) || upTo > this.#log.durableEnd) {
      throw new SpoorError(
        "InvalidInput",
        `trim ${folder} to ${upTo}: not an offset from 0 to its end ${this.#log.durableEnd}`,
      );
    }
    for (const [tenant, offset] of committed) {
      if (isOffset(offset) && offset <= this.#log.durableEnd) continue;
      throw new SpoorError("InvalidInput", `trim ${folder}: ${tenant} committed to ${offset}`);
    }
  }

  /** Makes positions durable, and removes segments that no consumer with a claim needs. */
  async #moveTo(wanted: TrimState): Promise<void> {
    const { folder } = this.#writer;
    const { others, lost } = this.#withoutLaggards(wanted.others);
    let trimmedTo = wanted.ingesterTo;
    for (const { position, isLost } of others.values()) {
      if (!isLost) trimmedTo = Math.min(trimmedTo, position);
    }
    trimmedTo = Math.max(trimmedTo, this.#state.trimmedTo);
    try {
      assertOwner(this.#context);
      await this.former.check();
      await this.#log.sealTrimmed(trimmedTo);
      const gone = this.#removable(trimmedTo);
      await this.#persist({ ...wanted, trimmedTo, others }, gone);
      for (const name of lost) this.#reportLost(name);
      await this.#removeSegments(gone);
      await this.#removeOldSidecars();
    } catch (error) {
      if (isOwnerLost(error)) throw error;
      throw writeFailed(`trim ${folder} to ${trimmedTo}`, error);
    }
  }

  #isLate(name: string, position: number): boolean {
    const bound = this.#context.consumers.find((one) => one.name === name)!;
    const { records, bytes } = this.behind(position);
    return records > bound.recordsBehindMax || bytes > bound.bytesBehindMax;
  }

  /** Takes the claims of consumers whose lag exceeds their limit. */
  #withoutLaggards(wanted: TrimState["others"]): { others: TrimState["others"]; lost: string[] } {
    const others = new Map(wanted);
    const lost: string[] = [];
    for (const [name, { position, isLost }] of wanted) {
      if (isLost || !this.#isLate(name, position)) continue;
      others.set(name, { position, isLost: true });
      lost.push(name);
    }
    return { others, lost };
  }

  #reportLost(consumer: string): void {
    const { position } = this.#positionOf(consumer);
    const { records: behindRecords, bytes: behindBytes } = this.behind(position);
    this.#claimsLost.set(consumer, this.claimsLost(consumer) + 1);
    this.#context.log.error(
      { consumer, folder: this.#writer.folder, position, behindRecords, behindBytes },
      "a consumer of the log is too far behind and has lost its claim: it will miss records",
    );
  }

  /** Makes the state durable, and the retry hashes of the segments that will be removed. */
  async #persist(state: TrimState, gone: readonly Segment[]): Promise<void> {
    const { clock, counters, fs } = this.#context;
    const { folder } = this.#writer;
    if (gone.length > 0) {
      const from = gone[0].firstOffset;
      const to = this.#writer.segments[gone.length].firstOffset;
      const entries = this.#log.memory.encodeRange(from, to, clock.monotonicMs());
      if (entries.length > 0) {
        const sidecar = await writeSidecar(fs, folder, from, entries);
        this.#sidecars = this.#sidecars.filter((known) => known.name !== sidecar.name);
        this.#sidecars.push(sidecar);
        counters.fsyncsTotal += 2;
      }
    }
    assertOwner(this.#context);
    await writeTrimState(fs, folder, state);
    counters.fsyncsTotal += 2;
    this.#state = state;
  }

  /** Returns the leading segments without a record at or above `trimmedTo`; never the last one. */
  #removable(trimmedTo: number): Segment[] {
    const { segments } = this.#writer;
    let count = 0;
    while (count + 1 < segments.length && segments[count + 1].firstOffset <= trimmedTo) count++;
    return segments.slice(0, count);
  }

  /** Removes segments, oldest first, so that a crash leaves no hole. */
  async #removeSegments(gone: readonly Segment[]): Promise<void> {
    const { counters, fs } = this.#context;
    for (const segment of gone) {
      await removeFile(fs, `${this.#writer.folder}/${segmentName(segment)}`);
      this.#writer.segments.shift();
      counters.bytes -= segment.bytes;
    }
  }

  async #removeOldSidecars(): Promise<void> {
    const { clock, fs } = this.#context;
    const { memory } = this.#log;
    memory.expire(clock.monotonicMs());
    const firstKnown = memory.firstOffset ?? Number.POSITIVE_INFINITY;
    const isOld = ({ lastOffset }: Sidecar): boolean => lastOffset < firstKnown;
    for (const sidecar of this.#sidecars.filter(isOld)) {
      await removeFile(fs, `${this.#writer.folder}/${sidecar.name}`);
      this.#sidecars = this.#sidecars.filter((other) => other !== sidecar);
    }
  }
}

/** Removes a file; a missing file is not an error. */
async function removeFile(fs: LogFs, path: string): Promise<void> {
  try {
    await fs.unlink(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
