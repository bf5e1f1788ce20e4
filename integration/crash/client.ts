/**
 * A client that loads a server and records acknowledged requests. It sends small OTLP/HTTP requests
 * of whole traces. If a response is lost, it may retry the same bytes later, as SDKs do.
 */
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { Span } from "#pkg/otlp/trace-data.ts";

export interface SentTrace {
  traceId: string;
  /** Span ids, hex. */
  spanIds: string[];
}

export interface SentRequest {
  body: Uint8Array;
  traces: SentTrace[];
  acknowledged: boolean;
}

export class CrashClient {
  readonly #random: () => number;
  readonly requests: SentRequest[] = [];
  /** Requests to retry, whose response was lost or an error; some requests are never retried. */
  readonly #retry: SentRequest[] = [];
  readonly #alter: (spans: Span[]) => void;
  #sent = 0;
  /** Number of responses by status. Callers may replace it to reset the counts. */
  responses: Record<number, number> = {};

  /** `alter` may change the spans of a request before it is encoded. */
  constructor(random: () => number, alter: (spans: Span[]) => void = () => undefined) {
    this.#random = random;
    this.#alter = alter;
  }

  get acknowledged(): SentTrace[] {
    return this.requests.filter((one) => one.acknowledged).flatMap(({ traces }) => traces);
  }

  /** Sends until `signal` aborts, `lanes` requests at a time. */
  async run(otlpHttp: string, lanes: number, signal: AbortSignal): Promise<void> {
    await Promise.all(Array.from({ length: lanes }, () => this.#lane(otlpHttp, signal)));
  }

  async #lane(otlpHttp: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const request = this.#retry.shift() ?? this.make();
      try {
        const response = await fetch(`${otlpHttp}/v1/traces`, {
          method: "POST",
          headers: { "content-type": "application/x-protobuf" },
          body: request.body as Uint8Array<ArrayBuffer>,
          signal,
        });
        await response.arrayBuffer();
        this.responses[response.status] = (this.responses[response.status] ?? 0) + 1;
        if (response.status === 200) request.acknowledged = true;
        else if (response.status >= 500 || response.status === 429) this.#scheduleRetry(request);
        else throw new Error(`unexpected status ${response.status}`);
      } catch (error) {
        if (error instanceof Error && error.message.startsWith("unexpected")) throw error;
        // The response is lost, but the request may have taken effect.
        this.#scheduleRetry(request);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  }

  #scheduleRetry(request: SentRequest): void {
    if (this.#random() < 0.7) this.#retry.push(request);
  }

  /** Makes a request and adds it to `requests`; does not send it. */
  make(): SentRequest {
    const traces: SentTrace[] = [];
    const spans: Span[] = [];
    const count = 1 + Math.floor(this.#random() * 5);
    for (let i = 0; i < count; i++) {
      const trace = makeTrace(this.#random, ++this.#sent);
      spans.push(...trace);
      traces.push({
        traceId: Buffer.from(trace[0].traceId).toString("hex"),
        spanIds: trace.map(({ spanId }) => Buffer.from(spanId).toString("hex")),
      });
    }
    this.#alter(spans);
    const service = { key: "service.name", value: { kind: "string" as const, value: "crash" } };
    const resource = { attributes: [service], droppedAttributesCount: 0, entityRefs: [] };
    const scope = { name: "", version: "", attributes: [], droppedAttributesCount: 0 };
    const scopeSpans = [{ scope, spans, schemaUrl: "" }];
    const body = encodeTraceData({ resourceSpans: [{ resource, scopeSpans, schemaUrl: "" }] });
    const request = { body: Uint8Array.from(body), traces, acknowledged: false };
    this.requests.push(request);
    return request;
  }
}

function makeTrace(random: () => number, number: number): Span[] {
  const traceId = Buffer.alloc(16);
  traceId.writeUInt32BE(Math.floor(random() * 0xffff_ffff), 0);
  traceId.writeUInt32BE(number, 12);
  const startTimeUnixNano = BigInt(Date.now()) * 1_000_000n;
  return Array.from({ length: 1 + Math.floor(random() * 6) }, (_, i): Span => {
    const spanId = Buffer.alloc(8);
    spanId.writeUInt32BE(number, 0);
    spanId.writeUInt32BE(i + 1, 4);
    return {
      traceId,
      spanId,
      traceState: "",
      parentSpanId: new Uint8Array(0),
      name: `step ${i}`,
      kind: 2,
      startTimeUnixNano,
      endTimeUnixNano: startTimeUnixNano + 1000n,
      attributes: [{ key: "number", value: { kind: "int", value: BigInt(number) } }],
      droppedAttributesCount: 0,
      events: [],
      droppedEventsCount: 0,
      links: [],
      droppedLinksCount: 0,
      status: { message: "", code: 0 },
      flags: 0,
    };
  });
}
