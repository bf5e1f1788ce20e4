/**
 * What several shards know of one trace, as one. A span that came twice (a client that sent again)
 * counts once: where two fingerprints are equal, the trace's spans are fetched whole and compared.
 * So are those of a trace in several shards if the filter is about the whole trace.
 */
import type { SpanSummary, TraceDetails } from "#pkg/api/query.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { compareRoots, compareSpans } from "#pkg/engine/traces.ts";
import type { ShardRef } from "#pkg/questions/shards.ts";
import {
  type DetailsQuery,
  hasPattern,
  type MergedTrace,
  type WholeTraces,
} from "./details-of-trace.ts";
import { failureOf, traceTooLarge } from "./trace-by-id.ts";
import { askShard } from "./shard-jobs.ts";
import { type Failure, type Spans, throwIfEnded } from "./view.ts";

/** Starts with nothing; `add` what each shard knows, then `finish`. */
export function mergeDetails(traceId: string, spansPerTrace: number): DetailsMerge {
  return new DetailsMerge(traceId, spansPerTrace);
}

export class DetailsMerge {
  readonly #traceId: string;
  readonly #spansPerTrace: number;
  readonly #parts: { details: TraceDetails; shard: ShardRef }[] = [];

  constructor(traceId: string, spansPerTrace: number) {
    this.#traceId = traceId;
    this.#spansPerTrace = spansPerTrace;
  }

  add(details: TraceDetails, shard: ShardRef): void {
    this.#parts.push({ details, shard });
  }

  /**
   * Undefined if no shard knew the trace. Where the spans could not be compared, `fail` is told and
   * repeated spans count as often as they came.
   *
   * @param query `needsWhole`: the filter is about the whole trace, so parts cannot be added up;
   *   "always": it was asked of no shard.
   */
  async finish(
    query: DetailsQuery & {
      signal: AbortSignal;
      needsWhole: "never" | "parts" | "always";
      wholeTraces: WholeTraces;
      spans: Spans;
      /** Of the spans that are compared. */
      bytesMax: number;
    },
    fail: (failure: Failure) => void,
  ): Promise<MergedTrace | undefined> {
    if (this.#parts.length === 0) return undefined;
    const all = this.#parts.map(({ details }) => details);
    const { needsWhole } = query;
    const isAsked = needsWhole === "always" || (needsWhole === "parts" && all.length > 1);
    if (!isAsked && !hasRepeats(all)) return joined(all, this.#spansPerTrace);
    const id = Buffer.from(this.#traceId, "hex");
    const pieces: Uint8Array[] = [];
    let isWhole = true;
    let sizeBytes = 0;
    for (const { shard } of this.#parts) {
      if (sizeBytes > query.bytesMax) break;
      try {
        const request = { traceId: id, bytesMax: query.bytesMax - sizeBytes };
        const piece = await askShard(query.spans, "trace", { shard, request }, query.signal);
        if (piece !== undefined) pieces.push(piece);
        sizeBytes += piece?.length ?? 0;
        if (sizeBytes > query.bytesMax) {
          const message = `a trace is too large to compare its spans: more than ${query.bytesMax}`;
          throw new SpoorError("TooLarge", `${message} bytes`, { reason: traceTooLarge });
        }
      } catch (error) {
        throwIfEnded(query.signal);
        isWhole = false;
        fail(failureOf(error, shard.name));
      }
    }
    const exact = isWhole ? await this.#compared(pieces, query) : undefined;
    // What no shard was asked cannot be told from what they said.
    if (needsWhole === "always") return exact;
    return exact ?? joined(all, this.#spansPerTrace);
  }

  async #compared(
    pieces: readonly Uint8Array[],
    query: DetailsQuery & { signal: AbortSignal; wholeTraces: WholeTraces },
  ): Promise<MergedTrace | undefined> {
    const { startNano, endNano, filter } = query;
    const job = {
      pieces,
      query: { startNano, endNano, filter },
      spansPerTrace: this.#spansPerTrace,
      hasPattern: hasPattern(filter),
    };
    return await query.wholeTraces(job, query.signal);
  }
}

function hasRepeats(all: readonly TraceDetails[]): boolean {
  const seen = new Set<bigint>();
  let count = 0;
  for (const { fingerprints } of all) {
    count += fingerprints.length;
    for (const fingerprint of fingerprints) seen.add(fingerprint);
  }
  return seen.size < count;
}

function joined(all: readonly TraceDetails[], spansPerTrace: number): MergedTrace {
  const { traceId, startNano, endNano, root } = all[0];
  const out: MergedTrace = {
    traceId,
    startNano,
    endNano,
    root,
    spans: [],
    matchedSpans: 0,
    services: {},
  };
  const spans: SpanSummary[] = [];
  const services = new Map<string, { spanCount: number; errorCount: number }>();
  for (const one of all) {
    if (one.startNano < out.startNano) out.startNano = one.startNano;
    if (one.endNano > out.endNano) out.endNano = one.endNano;
    out.matchedSpans += one.matchedSpans;
    for (const span of one.spans) spans.push(span);
    const isEarlier = out.root === undefined || (one.root && compareRoots(one.root, out.root) < 0);
    if (isEarlier) out.root = one.root;
    for (const [service, stats] of Object.entries(one.services)) {
      const sum = services.get(service) ?? { spanCount: 0, errorCount: 0 };
      sum.spanCount += stats.spanCount;
      sum.errorCount += stats.errorCount;
      services.set(service, sum);
    }
  }
  out.spans = spans.sort(compareSpans).slice(0, spansPerTrace);
  out.services = Object.fromEntries(services);
  return out;
}
