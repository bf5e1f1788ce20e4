/**
 * One partition's state on its worker thread: reads the log, decodes records into heads (one open
 * head per tenant), closes heads at their bounds, answers live queries.
 *
 *     log -> [open head] -> [closed head, being cut] -> committed: dropped when no query pins it
 */
import type { TraceDetailsRequest, ListTracesRequest } from "#pkg/api/query.ts";
import type { HeadData } from "#pkg/columns/head.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import { findTrace, listTraces, traceDetails } from "#pkg/engine/traces.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { LogReader, LogRecord } from "#pkg/spanlog/spanlog.ts";
import { allSpans, LiveHead, type PinnedData, spansOfTraces } from "./live-head.ts";
import type { ClosedHead, PartitionState, PartitionWorkerData, PinAnswer } from "./messages.ts";

export interface PartitionOptions extends PartitionWorkerData {
  reader: LogReader;
  clock: Clock;
  /** A head was closed and wants to become a block. */
  onClosed: (head: ClosedHead) => void;
  /** A record that passed the splitter did not decode. */
  onUndecodable: (record: { tenant: string; offset: number; message: string }) => void;
}

interface TenantHeads {
  open: LiveHead | undefined;
  closed: LiveHead[];
}

interface Pin {
  heads: Map<number, PinnedData>;
  expiresMs: number;
}

/** How often ages of heads and pins are looked at. */
const ageCheckMs = 100;

/** Pins at the same time; a query that comes on top is refused. */
const pinsMax = 1000;

export class Partition {
  readonly #options: PartitionOptions;
  readonly #tenants = new Map<string, TenantHeads>();
  readonly #pins = new Map<number, Pin>();
  #nextOffset: number;
  #durableEnd: number;
  #nextAgeCheckMs = 0;
  #nextHeadId = 0;
  #nextPinId = 0;
  #lostRecords = 0;
  #decodedSpans = 0;
  #decodedBytes = 0;
  #repairedDropped = 0;
  #undecodable = 0;

  constructor(options: PartitionOptions) {
    this.#options = options;
    this.#nextOffset = options.fromOffset;
    this.#durableEnd = options.durableEnd;
  }

  /** The first offset that was not read yet. */
  get nextOffset(): number {
    return this.#nextOffset;
  }

  /** Records below this offset may be read. */
  setDurableEnd(end: number): void {
    this.#durableEnd = Math.max(this.#durableEnd, end);
  }

  /** Reads and decodes one piece of the log. Returns false when there is nothing to do now. */
  async readSome(): Promise<boolean> {
    this.#closeAged();
    if (this.#nextOffset >= this.#durableEnd || this.#isStalled()) return false;
    const { reader, config } = this.#options;
    const batch = await reader.read(this.#nextOffset, this.#durableEnd, {
      bytesMax: config.readBytes,
    });
    for (const gap of batch.gaps) {
      if (gap.reason === "lost") this.#lostRecords += gap.toOffset - gap.fromOffset;
    }
    for (const record of batch.records) this.#take(record);
    if (batch.nextOffset === this.#nextOffset) return false;
    this.#nextOffset = batch.nextOffset;
    return true;
  }

  #take(record: LogRecord): void {
    const { committed, clock, onUndecodable } = this.#options;
    const { tenant, offset } = record;
    if (offset < (committed.get(tenant) ?? 0)) return;
    const heads = this.#headsOf(tenant);
    heads.open ??= new LiveHead(this.#nextHeadId++, tenant, offset, clock.nowMs());
    try {
      this.#decodedSpans += heads.open.append(record.bytes, offset, record.appendedMs);
      this.#decodedBytes += record.bytes.length;
    } catch (error) {
      this.#undecodable++;
      const message = error instanceof Error ? error.message : String(error);
      onUndecodable({ tenant, offset, message });
      // The offset is passed only with the head, after the record was put into quarantine.
      heads.open.toOffset = offset + 1;
    }
    this.#closeIfFull(heads);
  }

  #headsOf(tenant: string): TenantHeads {
    let heads = this.#tenants.get(tenant);
    if (heads === undefined) {
      heads = { open: undefined, closed: [] };
      this.#tenants.set(tenant, heads);
    }
    return heads;
  }

  #closeIfFull(heads: TenantHeads): void {
    const { cutSpans, cutBytes, closedHeadsMax } = this.#options.config;
    const { open } = heads;
    if (open === undefined || heads.closed.length >= closedHeadsMax) return;
    if (open.head.rows >= cutSpans || open.head.sizeBytes >= cutBytes) this.#close(heads);
  }

  #closeAged(): void {
    const { clock, config } = this.#options;
    if (clock.nowMs() < this.#nextAgeCheckMs) return;
    this.#nextAgeCheckMs = clock.nowMs() + ageCheckMs;
    const before = clock.nowMs() - config.cutAgeMs;
    for (const heads of this.#tenants.values()) {
      const { open, closed } = heads;
      if (open !== undefined && open.openedMs <= before && closed.length < config.closedHeadsMax) {
        this.#close(heads);
      }
    }
    this.#dropExpiredPins();
  }

  #close(heads: TenantHeads): void {
    const { open } = heads;
    if (open === undefined) return;
    heads.open = undefined;
    heads.closed.push(open);
    this.#options.onClosed({
      headId: open.id,
      tenant: open.tenant,
      fromOffset: open.fromOffset,
      toOffset: open.toOffset,
      spans: open.head.rows,
      firstAppendedMs: open.firstAppendedMs,
      lastAppendedMs: open.lastAppendedMs,
      data: open.head.freeze(),
    });
  }

  /** Closes all open heads, so that everything read so far becomes blocks. */
  closeAll(): void {
    for (const heads of this.#tenants.values()) this.#close(heads);
  }

  /** A closed head is in the table now. */
  committed({ tenant, headId }: { tenant: string; headId: number }): PartitionState {
    const heads = this.#headsOf(tenant);
    const gone = heads.closed.find((head) => head.id === headId);
    this.#repairedDropped += gone?.head.repairedCount ?? 0;
    heads.closed = heads.closed.filter((head) => head !== gone);
    if (heads.open === undefined && heads.closed.length === 0) this.#tenants.delete(tenant);
    else this.#closeIfFull(heads);
    return this.state();
  }

  /**
   * The tenant's records of [fromOffset, toOffset) decoded anew, for bisecting a head that fails.
   */
  async rebuild(range: {
    tenant: string;
    fromOffset: number;
    toOffset: number;
  }): Promise<{ data: HeadData; records: { offset: number; bytes: Uint8Array }[] }> {
    const { reader, config } = this.#options;
    const head = new LiveHead(-1, range.tenant, range.fromOffset, 0);
    const records: { offset: number; bytes: Uint8Array }[] = [];
    for (let at = range.fromOffset; at < range.toOffset;) {
      const batch = await reader.read(at, range.toOffset, { bytesMax: config.readBytes });
      for (const { tenant, offset, bytes, appendedMs } of batch.records) {
        if (tenant !== range.tenant) continue;
        records.push({ offset, bytes: Uint8Array.from(bytes) });
        try {
          head.append(bytes, offset, appendedMs);
        } catch (error) {
          if (!(error instanceof SpoorError)) throw error;
          // Counted when it was read first; the caller sees a record without spans.
        }
      }
      if (batch.nextOffset === at) break;
      at = batch.nextOffset;
    }
    return { data: head.head.freeze(), records };
  }

  pin(tenant: string): PinAnswer {
    this.#dropExpiredPins();
    if (this.#pins.size >= pinsMax) {
      throw new SpoorError("LimitExceeded", `${pinsMax} queries hold heads already`, {
        reason: "pins",
        retryAfterMs: 1000,
      });
    }
    const heads = this.#tenants.get(tenant);
    const live = [...(heads?.closed ?? []), ...(heads?.open === undefined ? [] : [heads.open])];
    const pinned = new Map<number, PinnedData>();
    for (const head of live) if (head.head.rows > 0) pinned.set(head.id, head.pin());
    const pinId = this.#nextPinId++;
    const { clock, config } = this.#options;
    if (pinned.size > 0) {
      this.#pins.set(pinId, { heads: pinned, expiresMs: clock.nowMs() + config.pinMs });
    }
    return {
      pinId,
      heads: [...pinned.values()].map(({ info }) => info),
      behindRecords: this.#durableEnd - this.#nextOffset,
      lostRecords: this.#lostRecords,
    };
  }

  release(pinId: number): void {
    this.#pins.delete(pinId);
  }

  listTraces(pinId: number, headId: number, request: ListTracesRequest): unknown {
    return listTraces(allSpans(this.#pinned(pinId, headId)), request);
  }

  traceDetails(pinId: number, headId: number, request: TraceDetailsRequest): unknown {
    const batch = spansOfTraces(this.#pinned(pinId, headId), request.ids);
    return batch.rows === 0 ? [] : traceDetails(batch, request);
  }

  findTrace(pinId: number, headId: number, traceId: Uint8Array): Uint8Array | undefined {
    const batch = spansOfTraces(this.#pinned(pinId, headId), traceId);
    return batch.rows === 0 ? undefined : findTrace(batch, traceId);
  }

  state(): PartitionState {
    const live = [...this.#tenants.values()];
    const all = live.flatMap(({ open, closed }) =>
      open === undefined ? closed : [...closed, open],
    );
    const sum = (pick: (head: LiveHead) => number): number =>
      all.reduce((total, head) => total + pick(head), 0);
    return {
      nextOffset: this.#nextOffset,
      durableEnd: this.#durableEnd,
      openHeads: live.filter(({ open }) => open !== undefined).length,
      closedHeads: live.reduce((total, { closed }) => total + closed.length, 0),
      headSpans: sum(({ head }) => head.rows),
      headBytes: sum(({ head }) => head.sizeBytes),
      decodedSpansTotal: this.#decodedSpans,
      decodedBytesTotal: this.#decodedBytes,
      repairedStringsTotal: this.#repairedDropped + sum(({ head }) => head.repairedCount),
      undecodableRecordsTotal: this.#undecodable,
      lostRecords: this.#lostRecords,
      trimTo: all.reduce((least, { fromOffset }) => Math.min(least, fromOffset), this.#nextOffset),
      stalled: this.#isStalled(),
    };
  }

  /** The heads take all the memory they may: reading waits until a block is stored. */
  #isStalled(): boolean {
    let sizeBytes = 0;
    let largest: TenantHeads | undefined;
    const { closedHeadsMax } = this.#options.config;
    for (const heads of this.#tenants.values()) {
      const { open, closed } = heads;
      for (const { head } of closed) sizeBytes += head.sizeBytes;
      if (open === undefined) continue;
      sizeBytes += open.head.sizeBytes;
      const more = largest?.open === undefined || open.head.sizeBytes > largest.open.head.sizeBytes;
      if (closed.length < closedHeadsMax && more) largest = heads;
    }
    if (sizeBytes < this.#options.headBytesMax) return false;
    // The largest head becomes a block first, so that memory comes back.
    if (largest !== undefined && largest.open!.head.rows > 0) this.#close(largest);
    return true;
  }

  #pinned(pinId: number, headId: number): PinnedData {
    const pinned = this.#pins.get(pinId)?.heads.get(headId);
    if (pinned === undefined) {
      throw new SpoorError(
        "Timeout",
        `head ${headId} is not held any more: the query took too long`,
      );
    }
    return pinned;
  }

  #dropExpiredPins(): void {
    const now = this.#options.clock.nowMs();
    for (const [pinId, pin] of this.#pins) if (pin.expiresMs <= now) this.#pins.delete(pinId);
  }
}
