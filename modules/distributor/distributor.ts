/**
 * The distributor: validates the bytes of a request, splits them by trace id and appends one record
 * per partition to the span log. Resolves when all records are durable.
 */
import type { Registry } from "prom-client";
import type { PushRequest, PushResult, SpanSink } from "#pkg/api/api.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import { errorTable, SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import type { Limits, Refusals, TenantLimits } from "#pkg/limits/limits.ts";
import { exampleTraceIds, type SplitRejection, type SplitResult } from "#pkg/otlp/otlp.ts";
import type { AppendOptions, LogProducer } from "#pkg/spanlog/spanlog.ts";
import type { TenantActivity } from "./activity.ts";
import type { DistributorConfig } from "./config.ts";
import { IngestRates } from "./ingest-rates.ts";
import { type DistributorMetrics, distributorMetrics } from "./metrics.ts";
import { SplitPool } from "./split-pool.ts";

export interface DistributorOptions {
  config: DistributorConfig;
  spanLog: LogProducer;
  registry: Registry;
  /** Returns whether the tenant's spans cannot be stored now. Only its requests are refused. */
  isTenantFailing: (tenant: string) => boolean;
  /** Returns why the spans cannot be stored, if known. */
  whyFailing?: (tenant: string) => string | undefined;
  limits: TenantLimits;
  refusals: Refusals;
  activity: TenantActivity;
  clock: Clock;
}

export class Distributor implements SpanSink {
  readonly #options: DistributorOptions;
  readonly #metrics: DistributorMetrics;
  readonly #splitter: SplitPool;
  readonly #rates: IngestRates;

  constructor(options: DistributorOptions) {
    const { config, registry, spanLog } = options;
    this.#options = options;
    this.#splitter = new SplitPool({
      threads: config.splitThreads,
      partitionCount: spanLog.partitionCount,
      retryAfterMs: config.retryAfterMs,
    });
    this.#rates = new IngestRates(options.clock);
    this.#metrics = distributorMetrics(registry, () => this.#splitter.threads);
  }

  async push(request: PushRequest): Promise<PushResult> {
    const { refusals } = this.#options;
    const { tenant, body, protocol: source, peer } = request;
    try {
      return await this.#push(request);
    } catch (cause) {
      const error = toSpoorError(cause);
      this.#metrics.refusedRequests.inc({ reason: error.reason });
      if (error.code !== "Canceled") {
        refusals.noteError(error, { tenant, source, peer, examples: () => exampleTraceIds(body) });
      }
      throw error;
    }
  }

  /** Ends the split threads. No request may be in flight. */
  async stop(): Promise<void> {
    await this.#splitter.close();
  }

  async #push({ tenant, body, key, signal, protocol, peer }: PushRequest): Promise<PushResult> {
    const { isTenantFailing, whyFailing, config, limits, refusals, activity } = this.#options;
    if (isTenantFailing(tenant)) {
      const why = whyFailing?.(tenant);
      const message = `spans of tenant ${tenant} cannot be stored now`;
      throw new SpoorError("Unavailable", why === undefined ? message : `${message}: ${why}`, {
        reason: "tenant_store_failing",
        retryAfterMs: config.retryAfterMs,
      });
    }
    const bodyBytes = body.length;
    this.#rates.take(tenant, bodyBytes, limits.of(tenant));
    const split = await this.#splitter.split(tenant, body, key);
    checkSpanCount(split, limits.of(tenant));
    await this.#append(tenant, split, { signal, key: split.key });
    this.#metrics.bytes.inc({ tenant }, bodyBytes);
    activity.note(tenant, split.acceptedSpans, bodyBytes);
    for (const rejection of split.rejections) {
      const { reason, spanCount, example: message } = rejection;
      this.#metrics.rejectedSpans.inc({ reason }, spanCount);
      refusals.note({ tenant, reason, message, source: protocol, peer, count: spanCount });
    }
    return {
      acceptedSpans: split.acceptedSpans,
      rejectedSpans: split.rejectedSpans,
      rejectedMessage: split.rejections.map(rejectionText).join("; "),
    };
  }

  /**
   * Appends a record to each partition and waits for all of them, even if one fails. The client
   * then retries the whole request, and the log drops the records that it already has.
   */
  async #append(tenant: string, { parts }: SplitResult, options: AppendOptions): Promise<void> {
    const { spanLog } = this.#options;
    const failures: SpoorError[] = [];
    await Promise.all(
      parts.map(async ({ partition, record, spanCount }) => {
        try {
          const { duplicate } = await spanLog.append(partition, tenant, record, options);
          this.#metrics.records.inc();
          if (duplicate) this.#metrics.duplicateRecords.inc();
          else this.#metrics.spans.inc({ tenant }, spanCount);
        } catch (error) {
          failures.push(toSpoorError(error));
        }
      }),
    );
    if (failures.length > 0) throw worstOf(failures);
  }
}

/** Returns a failure that a retry cannot cure, if there is one: the client must not retry then. */
function worstOf(failures: readonly SpoorError[]): SpoorError {
  return failures.find(({ code }) => !errorTable[code].retryable) ?? failures[0];
}

/** Throws TooLarge for too many spans. A retry cannot help; smaller batches do. */
function checkSpanCount(split: SplitResult, { spansPerRequestMax }: Limits): void {
  const spanCount = split.acceptedSpans + split.rejectedSpans;
  if (spansPerRequestMax === 0 || spanCount <= spansPerRequestMax) return;
  const message =
    `request of ${spanCount} spans, at most ${spansPerRequestMax} are allowed: ` +
    "send smaller batches";
  throw new SpoorError("TooLarge", message, { reason: "spans_per_request" });
}

function rejectionText({ reason, spanCount, example }: SplitRejection): string {
  const spans = spanCount === 1 ? "1 span" : `${spanCount} spans`;
  return `${spans}: ${reason} (${example})`;
}
export { TenantActivity } from "./activity.ts";
