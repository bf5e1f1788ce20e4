/** Sends Spoor's own spans to an OTLP endpoint with the OpenTelemetry SDK. */
import type { Tracer as SdkTracer } from "@opentelemetry/api";
import { SpoorError } from "#pkg/errors/errors.ts";
import { noTracer, type SpanAttributes, type Tracer } from "#pkg/selftrace/selftrace.ts";
import { version } from "#pkg/version/version.ts";

export interface TracingOptions {
  /** OTLP/HTTP endpoint; empty: no tracing. */
  endpoint: string;
  /** Share of traces that are sent, 0 to 1. */
  sampleRatio: number;
}

export interface Tracing {
  tracer: Tracer;
  /** Sends the remaining spans. */
  stop(): Promise<void>;
}

/** Starts tracing; loads the SDK only for an endpoint. Throws InvalidInput if it is not a URL. */
export async function openTracing({ endpoint, sampleRatio }: TracingOptions): Promise<Tracing> {
  if (endpoint === "") return { tracer: noTracer, stop: async () => undefined };
  const url = tracesUrl(endpoint);
  const [api, sdk, exporter, { resourceFromAttributes }] = await Promise.all([
    import("@opentelemetry/api"),
    import("@opentelemetry/sdk-trace-node"),
    import("@opentelemetry/exporter-trace-otlp-proto"),
    import("@opentelemetry/resources"),
  ]);
  const provider = new sdk.NodeTracerProvider({
    resource: resourceFromAttributes({ "service.name": "spoor", "service.version": version }),
    sampler: new sdk.ParentBasedSampler({ root: new sdk.TraceIdRatioBasedSampler(sampleRatio) }),
    spanProcessors: [new sdk.BatchSpanProcessor(new exporter.OTLPTraceExporter({ url }))],
  });
  // Children find their parent through the global context manager.
  provider.register({ propagator: null });
  const tracer = provider.getTracer("spoor", version);
  return {
    tracer: { run: (name, attributes, work) => run(api, tracer, { name, attributes }, work) },
    stop: async () => {
      await provider.shutdown();
      api.context.disable();
      api.trace.disable();
    },
  };
}

type Api = typeof import("@opentelemetry/api");

async function run<T>(
  api: Api,
  tracer: SdkTracer,
  { name, attributes }: { name: string; attributes: SpanAttributes },
  work: Parameters<Tracer["run"]>[2],
): Promise<T> {
  return await tracer.startActiveSpan(name, { attributes }, async (span) => {
    try {
      return (await work({ set: (more) => span.setAttributes(more) })) as T;
    } catch (error) {
      span.recordException(error instanceof Error ? error : String(error));
      span.setStatus({ code: api.SpanStatusCode.ERROR });
      throw error;
    } finally {
      span.end();
    }
  });
}

function tracesUrl(endpoint: string): string {
  const url = URL.parse(endpoint);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    const shown = JSON.stringify(endpoint);
    const message = `server.tracing_endpoint ${shown} is not like http://host:4318`;
    throw new SpoorError("InvalidInput", message, { reason: "usage" });
  }
  if (url.pathname.endsWith("/v1/traces")) return url.href;
  return new URL(`${url.pathname.replace(/\/$/, "")}/v1/traces`, url).href;
}

/** Returns whether an endpoint is this process's own receiver, which would trace itself. */
export function isOwnReceiver(endpoint: string, port: number): boolean {
  const url = URL.parse(endpoint);
  if (url === null) return false;
  const isLocal = ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"].includes(url.hostname);
  const endpointPort = url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port);
  return isLocal && endpointPort === port;
}
