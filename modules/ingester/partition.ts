/**
 * One partition's state on its worker thread. It reads the log, decodes records into heads (one
 * open head per tenant), closes heads at their limits, pins heads for queries and looks up traces.
 *
 *     log -> [open head] -> [closed head, being cut] -> committed: dropped when no query pins it
 */
import type { Clock } from "#pkg/clock/clock.ts";
import type { FilterTools } from "#pkg/engine/engine.ts";
import type { AnswerOf, QuestionName, RequestOf } from "#pkg/questions/questions.ts";
import type { LogReader, LogRecord } from "#pkg/spanlog/spanlog.ts";
import { RegexCache } from "#pkg/traceql/regex.ts";
import { LiveHead, type PinnedData, Undecodable } from "./live-head.ts";
import { answerLive } from "./live-questions.ts";
import type { CutRecord } from "#pkg/otlp/otlp.ts";
import { findLargeTraces } from "./large-traces.ts";
import type {
  ClosedHead,
  CutNotice,
  LargeTracesNotice,
  PartitionState,
  PartitionWorkerData,
  PinAnswer,
  RecordLimits,
  TenantRecordLimits,
} from "./messages.ts";
import { Pins } from "./pins.ts";

export interface PartitionOptions extends PartitionWorkerData {
  reader: LogReader;
  clock: Clock;
  /** Called when a head was closed and must become a block. */
  onClosed: (head: ClosedHead) => void;
  /** Called when a record did not decode, before its head is closed. */
  onUndecodable: (record: { tenant: string; offset: number; message: string }) => void;
  /** Called when attributes were cut, once per tenant and read of the log. */
  onCut: (notice: CutNotice) => void;
  onLargeTraces: (notice: LargeTracesNotice) => void;
  /** Called when records of the log are lost. */
  onLost: (range: { fromOffset: number; toOffset: number }) => void;
}

/** A question to a pinned head. */
export interface LookUp {
  question: QuestionName;
  pinId: number;
  headId: number;
  request: RequestOf<QuestionName>;
}

/** Tools of look-ups, which have no condition. */
const lookUpTools: FilterTools = { regexes: new RegexCache(), isStopped: () => false };

interface TenantHeads {
  open: LiveHead | undefined;
  /** `#readBytes` when the open head got its first record. */
  openedAtBytes: number;
  closed: LiveHead[];
}

/** Interval of checks of the ages of heads and pins. */
const checkMs = 100;
/** When memory is used up, at most one head per interval is closed early. */
const earlyCloseMs = 1000;

/** Most tenants in a state. */
const tenantsShownMax = 1000;

/** The heads of one partition. */
export class Partition {
  readonly #options: PartitionOptions;
  readonly #tenants = new Map<string, TenantHeads>();
  readonly #pins = new Pins();
  readonly #cuts = new Map<string, CutNotice>();
  #limits: RecordLimits;
  #nextOffset: number;
  #durableEnd: number;
  #nextHeadId = 0;
  #isStalled = false;
  /** Times of this class are of the monotonic clock. */
  #nextCheckMs = Number.NEGATIVE_INFINITY;
  #earlyCloseAfterMs = Number.NEGATIVE_INFINITY;
  #lostRecords = 0;
  #decodedSpans = 0;
  #decodedBytes = 0;
  /** Bytes of all records appended to heads. */
  #readBytes = 0;
  #repairedDropped = 0;
  #undecodable = 0;
  /** Offset of the first record of a tenant whose table cannot be read. */
  #blockedFrom = Number.POSITIVE_INFINITY;

  constructor(options: PartitionOptions) {
    this.#options = options;
    this.#limits = options.limits;
    this.#nextOffset = options.fromOffset;
    this.#durableEnd = options.durableEnd;
  }

  /** Offset of the next record to read. */
  get nextOffset(): number {
    return this.#nextOffset;
  }

  /** Allows reading of records below this offset. */
  setDurableEnd(end: number): void {
    this.#durableEnd = Math.max(this.#durableEnd, end);
  }

  /** Reads and decodes one piece of the log. Returns false if there is nothing to read now. */
  async readSome(): Promise<boolean> {
    const { reader, config, clock, onLost } = this.#options;
    const nowMs = clock.monotonicMs();
    this.#closeAged(nowMs);
    this.#limitMemory(nowMs);
    if (this.#nextOffset >= this.#durableEnd || this.#isStalled) return false;
    const batch = await reader.read(this.#nextOffset, this.#durableEnd, {
      bytesMax: config.readBytes,
    });
    for (const { fromOffset, toOffset, reason } of batch.gaps) {
      if (reason !== "lost") continue;
      this.#lostRecords += toOffset - fromOffset;
      onLost({ fromOffset, toOffset });
    }
    for (const record of batch.records) this.#take(record, nowMs);
    this.#reportCuts();
    this.#nextOffset = batch.nextOffset;
    return true;
  }

  /** Sets the limits for records read from now on. */
  setLimits(limits: RecordLimits): void {
    this.#limits = limits;
  }

  #limitsOf(tenant: string): TenantRecordLimits {
    return this.#limits.tenants.get(tenant) ?? this.#limits.defaults;
  }

  #take(record: LogRecord, nowMs: number): void {
    const { tenant, offset, bytes } = record;
    const { committed, blocked, onUndecodable } = this.#options;
    if (offset < (committed.get(tenant) ?? 0)) return;
    if (blocked.has(tenant)) {
      this.#blockedFrom = Math.min(this.#blockedFrom, offset);
      return;
    }
    const heads = this.#headsOf(tenant);
    if (heads.open === undefined) {
      heads.open = new LiveHead(this.#nextHeadId++, tenant, offset, nowMs);
      heads.openedAtBytes = this.#readBytes;
    }
    this.#readBytes += bytes.length;
    try {
      const { spans, cut } = heads.open.append(record, this.#limitsOf(tenant));
      this.#decodedSpans += spans;
      if (cut !== undefined) this.#noteCut(tenant, cut);
      this.#decodedBytes += bytes.length;
    } catch (error) {
      if (!(error instanceof Undecodable)) throw error;
      // The offset is committed only with the head, after the record is in quarantine.
      this.#undecodable++;
      onUndecodable({ tenant, offset, message: error.message });
    }
    this.#closeIfFull(heads);
  }

  #noteCut(tenant: string, { counts, examples }: CutRecord): void {
    const known = this.#cuts.get(tenant);
    if (known === undefined) {
      this.#cuts.set(tenant, { tenant, counts, examples });
      return;
    }
    known.counts.keys += counts.keys;
    known.counts.values += counts.values;
    known.counts.attributes += counts.attributes;
  }

  #reportCuts(): void {
    for (const notice of this.#cuts.values()) this.#options.onCut(notice);
    this.#cuts.clear();
  }

  #headsOf(tenant: string): TenantHeads {
    let heads = this.#tenants.get(tenant);
    if (heads === undefined) {
      heads = { open: undefined, openedAtBytes: 0, closed: [] };
      this.#tenants.set(tenant, heads);
    }
    return heads;
  }

  #mayClose({ closed }: TenantHeads): boolean {
    return closed.length < this.#options.config.closedHeadsMax;
  }

  #closeIfFull(heads: TenantHeads): void {
    const { cutSpans, cutBytes } = this.#options.config;
    const { open } = heads;
    if (open === undefined || !this.#mayClose(heads)) return;
    if (open.head.rows >= cutSpans || open.head.sizeBytes >= cutBytes) this.#close(heads);
  }

  /**
   * Closes heads that are old, by time or by bytes of the log read since. The log keeps the records
   * of all tenants from the first record of the oldest head on.
   */
  #closeAged(nowMs: number): void {
    if (nowMs < this.#nextCheckMs) return;
    this.#nextCheckMs = nowMs + checkMs;
    this.#pins.dropExpired(nowMs);
    const { cutAgeMs, cutLogBytes } = this.#options.config;
    for (const heads of this.#tenants.values()) {
      const { open, openedAtBytes } = heads;
      if (open === undefined || !this.#mayClose(heads)) continue;
      const isOld = open.openedMs <= nowMs - cutAgeMs;
      if (isOld || this.#readBytes - openedAtBytes >= cutLogBytes) this.#close(heads);
    }
  }

  /**
   * Pauses reading while heads take all the memory that they may. Closes the largest head, so that
   * it becomes a block and its memory is freed.
   */
  #limitMemory(nowMs: number): void {
    let sizeBytes = this.#pins.storedBytes;
    let largest: TenantHeads | undefined;
    for (const heads of this.#tenants.values()) {
      for (const { head } of heads.closed) sizeBytes += head.sizeBytes;
      const openBytes = heads.open?.head.sizeBytes ?? 0;
      sizeBytes += openBytes;
      const isLarger = openBytes > (largest?.open?.head.sizeBytes ?? 0);
      if (isLarger && this.#mayClose(heads)) largest = heads;
    }
    this.#isStalled = sizeBytes >= this.#options.headBytesMax;
    if (!this.#isStalled || largest === undefined || nowMs < this.#earlyCloseAfterMs) return;
    this.#close(largest);
    this.#earlyCloseAfterMs = nowMs + earlyCloseMs;
  }

  #close(heads: TenantHeads): void {
    const { open } = heads;
    if (open === undefined) return;
    heads.open = undefined;
    heads.closed.push(open);
    const data = open.head.freeze();
    const { tenant } = open;
    const large = findLargeTraces(data, this.#limitsOf(tenant).traceSpansMax);
    if (large !== undefined) this.#options.onLargeTraces({ tenant, ...large });
    this.#options.onClosed({
      headId: open.id,
      tenant: open.tenant,
      fromOffset: open.fromOffset,
      toOffset: open.toOffset,
      spans: open.head.rows,
      firstAppendedMs: open.firstAppendedMs,
      lastAppendedMs: open.lastAppendedMs,
      data,
    });
  }

  /** Closes all open heads, so that everything read so far becomes blocks. */
  closeAll(): void {
    for (const heads of this.#tenants.values()) this.#close(heads);
  }

  /** Drops a closed head that is in the table now. */
  committed({ tenant, headId }: { tenant: string; headId: number }): PartitionState {
    const heads = this.#headsOf(tenant);
    const gone = heads.closed.find((head) => head.id === headId);
    if (gone !== undefined) {
      this.#repairedDropped += gone.head.repairedCount;
      this.#pins.noteStored(gone);
      heads.closed = heads.closed.filter((head) => head !== gone);
    }
    if (heads.open === undefined && heads.closed.length === 0) this.#tenants.delete(tenant);
    else this.#closeIfFull(heads);
    // Allows the next early close at once: this head's memory was part of the total.
    this.#earlyCloseAfterMs = Number.NEGATIVE_INFINITY;
    return this.state();
  }

  /** Pins the tenant's heads. Throws LimitExceeded. */
  pin(tenant: string): PinAnswer {
    const { clock, config } = this.#options;
    const nowMs = clock.monotonicMs();
    this.#pins.dropExpired(nowMs);
    const heads = this.#tenants.get(tenant);
    const live = [...(heads?.closed ?? []), ...(heads?.open === undefined ? [] : [heads.open])];
    return {
      ...this.#pins.add(live, nowMs + config.pinMs),
      behindRecords: this.#durableEnd - this.#nextOffset,
      lostRecords: this.#lostRecords,
      stalled: this.#isStalled,
    };
  }

  release(pinId: number): void {
    this.#pins.release(pinId);
  }

  /** Returns a pinned head in shared memory, for the threads that search it. */
  lend(pinId: number, headId: number): PinnedData {
    return this.#pins.get(pinId, headId);
  }

  /** Answers a question that needs no search from a pinned head. */
  lookUp({ question, pinId, headId, request }: LookUp): AnswerOf<QuestionName> {
    const head = this.#pins.get(pinId, headId);
    return answerLive({ question, head, request }, lookUpTools);
  }

  state(): PartitionState {
    const tenants = [...this.#tenants.values()];
    const all = tenants.flatMap(({ open, closed }) =>
      open === undefined ? closed : [...closed, open],
    );
    const sum = (pick: (head: LiveHead) => number): number =>
      all.reduce((total, head) => total + pick(head), 0);
    return {
      partition: this.#options.partition,
      nextOffset: this.#nextOffset,
      durableEnd: this.#durableEnd,
      openHeads: tenants.filter(({ open }) => open !== undefined).length,
      closedHeads: tenants.reduce((total, { closed }) => total + closed.length, 0),
      headSpans: sum(({ head }) => head.rows),
      tenantSpans: this.#tenantSpans(),
      headBytes: this.#pins.storedBytes + sum(({ head }) => head.sizeBytes),
      decodedSpansTotal: this.#decodedSpans,
      decodedBytesTotal: this.#decodedBytes,
      repairedStringsTotal: this.#repairedDropped + sum(({ head }) => head.repairedCount),
      undecodableRecordsTotal: this.#undecodable,
      lostRecords: this.#lostRecords,
      pins: this.#pins.count,
      trimTo: all.reduce(
        (least, { fromOffset }) => Math.min(least, fromOffset),
        Math.min(this.#nextOffset, this.#blockedFrom),
      ),
      stalled: this.#isStalled,
    };
  }

  #tenantSpans(): [tenant: string, spans: number][] {
    const counts = [...this.#tenants].map(([tenant, { open, closed }]): [string, number] => {
      const stored = closed.reduce((total, { head }) => total + head.rows, 0);
      return [tenant, stored + (open?.head.rows ?? 0)];
    });
    return counts.toSorted(([, a], [, b]) => b - a).slice(0, tenantsShownMax);
  }
}
