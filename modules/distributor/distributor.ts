/**
 * The distributor: finds the tenant, validates the request on the wire, splits it by trace id and
 * appends one record per partition to the log. Resolves when all of them are durable.
 */
import type { Registry } from "prom-client";
import type { PushRequest, PushResult, SpanSink } from "#pkg/api/ingest.ts";
import { SpoorError, toSpoorError } from "#pkg/errors/errors.ts";
import { SplitScratch } from "#pkg/otlp/split-scratch.ts";
import { splitRequest, type SplitResult } from "#pkg/otlp/split.ts";
import type { SpanLog } from "#pkg/spanlog/spanlog.ts";
import { resolveTenant } from "#pkg/tenant/tenant.ts";
import type { DistributorConfig } from "./config.ts";
import { type DistributorMetrics, distributorMetrics } from "./metrics.ts";

export interface DistributorOptions {
  config: DistributorConfig;
  multiTenancy: boolean;
  spanLog: SpanLog;
  registry: Registry;
  /** Tenants whose spans cannot be stored at present are pushed back, the others are not. */
  isTenantFailing: (tenant: string) => boolean;
}

export class Distributor implements SpanSink {
  readonly #options: DistributorOptions;
  readonly #metrics: DistributorMetrics;
  readonly #scratch: SplitScratch = new SplitScratch();

  constructor(options: DistributorOptions) {
    this.#options = options;
    this.#metrics = distributorMetrics(options.registry);
  }

  async push(request: PushRequest): Promise<PushResult> {
    try {
      return await this.#push(request);
    } catch (cause) {
      const error = toSpoorError(cause);
      this.#metrics.refusedRequests.inc({ reason: error.reason });
      throw error;
    }
  }

  async #push({ tenantHeaders, body, signal }: PushRequest): Promise<PushResult> {
    const { multiTenancy, spanLog, isTenantFailing, config } = this.#options;
    const tenant = resolveTenant(tenantHeaders, multiTenancy);
    if (isTenantFailing(tenant)) {
      throw new SpoorError("Unavailable", `spans of tenant ${tenant} can not be stored now`, {
        reason: "tenant_store_failing",
        retryAfterMs: config.retryAfterMs,
      });
    }
    const split = splitRequest(body, {
      partitionCount: spanLog.partitionCount,
      scratch: this.#scratch,
    });
    await this.#append(tenant, split, signal);
    this.#metrics.spans.inc({ tenant }, split.acceptedSpans);
    this.#metrics.bytes.inc({ tenant }, body.length);
    for (const { reason, spanCount } of split.rejections) {
      this.#metrics.rejectedSpans.inc({ reason }, spanCount);
    }
    return {
      acceptedSpans: split.acceptedSpans,
      rejectedSpans: split.rejectedSpans,
      rejectedMessage: split.rejections
        .map(({ reason, spanCount, example }) => `${spanCount} spans: ${reason} (${example})`)
        .join("; "),
    };
  }

  /**
   * Waits for all partitions, also when one fails: the client sends everything again then, and the
   * log's memory of retries keeps what was taken from being counted twice.
   */
  async #append(tenant: string, split: SplitResult, signal: AbortSignal): Promise<void> {
    const { spanLog } = this.#options;
    const settled = await Promise.allSettled(
      split.parts.map(({ partition, record }) =>
        spanLog.append(partition, tenant, record, { signal }),
      ),
    );
    for (const one of settled) {
      if (one.status === "rejected") continue;
      this.#metrics.records.inc();
      if (one.value.duplicate) this.#metrics.duplicateRecords.inc();
    }
    const failed = settled.find((one) => one.status === "rejected");
    if (failed !== undefined) throw toSpoorError(failed.reason);
  }
}
