/** Test support: a receiver on free ports with a sink that records its requests. */
import { Registry } from "prom-client";
import type { PushRequest, PushResult, SpanSink } from "#pkg/api/ingest.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { Refusals } from "#pkg/limits/refusals.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import type { Span } from "#pkg/otlp/trace-data.ts";
import { Access } from "#pkg/tenant/access.ts";
import { splitRequest } from "#pkg/otlp/split.ts";
import { type OtlpReceiverConfig, otlpReceiverConfigSchema } from "./config.ts";
import { OtlpReceiver } from "./otlp-receiver.ts";

/** Keeps every request. By default `answer` acts like a distributor without limits. */
export class RecordingSink implements SpanSink {
  readonly requests: PushRequest[] = [];
  answer: (request: PushRequest) => Promise<PushResult> = acceptValid;
  #waiters: (() => void)[] = [];

  push(request: PushRequest): Promise<PushResult> {
    this.requests.push(request);
    for (const wake of this.#waiters.splice(0)) wake();
    return this.answer(request);
  }

  /** Resolves when `count` requests have been received in total. */
  async received(count: number): Promise<void> {
    while (this.requests.length < count) {
      await new Promise<void>((resolve) => {
        this.#waiters.push(resolve);
      });
    }
  }

  /** Returns the spans of all requests, starting with request `from`. */
  spans(from = 0): Span[] {
    return this.requests
      .slice(from)
      .flatMap(({ body }) =>
        decodeTraceData(body).resourceSpans.flatMap(({ scopeSpans }) =>
          scopeSpans.flatMap(({ spans }) => spans),
        ),
      );
  }
}

function acceptValid({ body }: PushRequest): Promise<PushResult> {
  return new Promise((resolve) => {
    const { acceptedSpans, rejectedSpans, rejections } = splitRequest(body, { partitionCount: 4 });
    const rejectedMessage = rejections.map(({ example }) => example).join("; ");
    resolve({ acceptedSpans, rejectedSpans, rejectedMessage });
  });
}

export interface TestReceiver extends AsyncDisposable {
  sink: RecordingSink;
  receiver: OtlpReceiver;
  registry: Registry;
  refusals: Refusals;
  httpPort: number;
  grpcPort: number;
  /** Returns the value of a metric; `labels` as printed, e.g. `protocol="otlp_http"`. */
  metric(name: string, labels?: string): Promise<number>;
}

export async function startReceiver(
  config: Partial<OtlpReceiverConfig> = {},
  { multiTenancy = false }: { multiTenancy?: boolean } = {},
): Promise<TestReceiver> {
  const sink = new RecordingSink();
  const registry = new Registry();
  const refusals = new Refusals(systemClock, openLog("silent"));
  const receiver = new OtlpReceiver({
    config: otlpReceiverConfigSchema.parse({ httpPort: 0, grpcPort: 0, ...config }),
    sink,
    access: new Access(multiTenancy, ""),
    log: openLog("silent"),
    refusals,
    registry,
  });
  const ports = await receiver.start();
  return {
    sink,
    receiver,
    registry,
    refusals,
    ...ports,
    async metric(name, labels) {
      const key = labels === undefined ? name : `${name}{${labels}}`;
      const line = (await registry.metrics()).split("\n").find((one) => one.startsWith(`${key} `));
      return line === undefined ? 0 : Number(line.slice(key.length + 1));
    },
    [Symbol.asyncDispose]: () => receiver.stop(0),
  };
}

/** Polls until `holds`, for conditions without an event. The test's timeout ends it. */
export async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) {
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  }
}
