/** Forgetting the records of one partition that every table has committed. */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { FormerSegments } from "./former-segments.ts";
import { segmentName } from "./format.ts";
import { assertOwner, isOwnerLost, writeFailed, type LogContext } from "./log-context.ts";
import type { LogFs } from "./log-fs.ts";
import type { PartitionLog } from "./partition-log.ts";
import { writeSidecar, type Sidecar } from "./retry-sidecar.ts";
import type { Segment, SegmentWriter } from "./segment-writer.ts";
import { isOffset, writeTrimState, type TrimState } from "./state-file.ts";

/** What trimming starts from when the log was opened. */
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
    this.#state = state;
    this.#sidecars = sidecars;
    this.former = former;
  }

  /** What is durable about trimming. */
  get state(): TrimState {
    return this.#state;
  }

  trim(upTo: number, committed: Record<string, number>): Promise<void> {
    const result = this.#lastTrim.then(() => this.#trim(upTo, committed));
    this.#lastTrim = result.catch(() => undefined);
    return result;
  }

  /** Waits for trims under way. */
  async idle(): Promise<void> {
    await this.#lastTrim;
  }

  async #trim(upTo: number, committed: Record<string, number>): Promise<void> {
    const { folder } = this.#writer;
    const map = new Map(Object.entries(committed));
    if (!isOffset(upTo) || upTo > this.#log.durableEnd) {
      throw new SpoorError(
        "InvalidInput",
        `trim ${folder} to ${upTo}: not an offset up to its end ${this.#log.durableEnd}`,
      );
    }
    for (const [tenant, offset] of map) {
      if (isOffset(offset) && offset <= this.#log.durableEnd) continue;
      throw new SpoorError("InvalidInput", `trim ${folder}: ${tenant} committed to ${offset}`);
    }
    try {
      assertOwner(this.#context);
      await this.former.check();
      await this.#log.sealTrimmed(upTo);
      const trimmedTo = Math.max(upTo, this.#state.trimmedTo);
      const gone = this.#removable(trimmedTo);
      await this.#persist({ trimmedTo, committed: map }, gone);
      await this.#removeSegments(gone);
      await this.#removeOldSidecars();
    } catch (error) {
      if (isOwnerLost(error)) throw error;
      throw writeFailed(`trim ${folder} to ${upTo}`, error);
    }
  }

  /** Everything that must outlive the segments is durable before one of them goes. */
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

  /** The leading segments that hold no record at or above `trimmedTo`; never the last one. */
  #removable(trimmedTo: number): Segment[] {
    const { segments } = this.#writer;
    let count = 0;
    while (count + 1 < segments.length && segments[count + 1].firstOffset <= trimmedTo) count++;
    return segments.slice(0, count);
  }

  /** Oldest first, so that a crash in between leaves no hole. */
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

/** A file that is gone already is what was wanted. */
async function removeFile(fs: LogFs, path: string): Promise<void> {
  try {
    await fs.unlink(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
