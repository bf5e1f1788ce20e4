/**
 * The distributor: validates the request on the wire, splits it by trace id and
 * appends one record per partition to the log. Resolves when all of them are durable.
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
  /** Tenants whose spans cannot be stored at present are pushed back, the others are not. */
  isTenantFailing: (tenant: string) => boolean;
  /** Why they cannot be stored, where that is known. */
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

  /** Ends the threads that split. No request may be under way. */
  async stop(): Promise<void> {
    await this.#splitter.close();
  }

  async #push({ tenant, body, key, signal, protocol, peer }: PushRequest): Promise<PushResult> {
    const { isTenantFailing, whyFailing, config, limits, refusals, activity } = this.#options;
    if (isTenantFailing(tenant)) {
      const why = whyFailing?.(tenant);
      const message = `spans of tenant ${tenant} can not be stored now`;
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
   * Waits for all partitions, also when one fails: the client sends everything again then, and the
   * log's memory of retries keeps what was taken from being stored twice.
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

/** A client that is told to try again would do so in vain if one of the failures stays. */
function worstOf(failures: readonly SpoorError[]): SpoorError {
  return failures.find(({ code }) => !errorTable[code].retryable) ?? failures[0];
}

/** Sending it again cannot help: the client has to make smaller batches. */
function checkSpanCount(split: SplitResult, { spansPerRequestMax }: Limits): void {
  const spanCount = split.acceptedSpans + split.rejectedSpans;
  if (spansPerRequestMax === 0 || spanCount <= spansPerRequestMax) return;
  const message = `request of ${spanCount} spans, at most ${spansPerRequestMax} are allowed`;
  throw new SpoorError("TooLarge", message, { reason: "spans_per_request" });
}

function rejectionText({ reason, spanCount, example }: SplitRejection): string {
  const spans = spanCount === 1 ? "1 span" : `${spanCount} spans`;
  return `${spans}: ${reason} (${example})`;
}
export { TenantActivity } from "./activity.ts";
