/** Helpers that send spans to a running Spoor and request them. */
import { asAdmin } from "./spoor.ts";
import { randomBytes } from "node:crypto";
import { type SpanSpec, traceDataOf } from "#pkg/engine/testing/spans.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";

/** Makes a trace of `spanCount` spans that start about now. */
export function makeTrace(spanCount: number, options: Partial<SpanSpec> = {}): SpanSpec[] {
  const traceId = randomBytes(16).toString("hex");
  const startNano = BigInt(Date.now()) * 1_000_000n;
  return Array.from({ length: spanCount }, (_, i) => ({
    traceId,
    spanId: randomBytes(8).toString("hex"),
    service: "shop",
    name: `step ${i}`,
    startNano: startNano + BigInt(i),
    endNano: startNano + 1000n,
    ...options,
  }));
}

/** Encodes an ExportTraceServiceRequest. */
export function requestOf(specs: readonly SpanSpec[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(encodeTraceData(traceDataOf(specs)));
}

/** Returns the header that names a tenant. */
export function asTenant(name: string | undefined): Record<string, string> {
  return name === undefined ? {} : { "x-scope-orgid": name };
}

/** Posts a body to OTLP/HTTP, as protobuf unless the headers say otherwise. */
export async function post(
  otlpHttp: string,
  body: Uint8Array<ArrayBuffer> | string,
  headers: Record<string, string> = {},
): Promise<{ status: number; headers: Headers; body: Buffer }> {
  const response = await fetch(`${otlpHttp}/v1/traces`, {
    method: "POST",
    headers: { "content-type": "application/x-protobuf", ...headers },
    body,
  });
  const { status } = response;
  return { status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) };
}

/** Sends spans; throws unless all were accepted. */
export async function send(
  otlpHttp: string,
  specs: readonly SpanSpec[],
  tenant?: string,
): Promise<void> {
  const { status, body } = await post(otlpHttp, requestOf(specs), asTenant(tenant));
  if (status !== 200 || body.length > 0) {
    throw new Error(`spans were not accepted: ${status} ${body.toString()}`);
  }
}

export interface FoundSpans {
  status: number;
  /** Hex, ascending. */
  spanIds: string[];
  /** Why the response may lack spans; undefined if it is complete. */
  partial: string | undefined;
  text: string;
}

/** Requests a trace by its id. */
export async function find(address: string, traceId: string, tenant?: string): Promise<FoundSpans> {
  const response = await fetch(`${address}/api/v2/traces/${traceId}`, {
    headers: asTenant(tenant),
  });
  const text = await response.text();
  const { status } = response;
  const found: FoundSpans = { status, spanIds: [], partial: undefined, text };
  if (status !== 200) return found;
  found.spanIds = [...text.matchAll(/"spanId":"([^"]+)"/g)]
    .map(([, id]) => Buffer.from(id, "base64").toString("hex"))
    .sort();
  const { status: wholeness, message } = JSON.parse(text) as { status?: string; message?: string };
  if (wholeness === "PARTIAL") found.partial = message ?? "";
  return found;
}

/** Returns the span ids that `find` returns for whole traces. */
export function spanIdsOf(specs: readonly SpanSpec[]): string[] {
  return specs.map(({ spanId }) => spanId).sort();
}

/** Returns the value of a metric, summed over its labels; undefined if it does not exist. */
export async function metric(address: string, name: string): Promise<number | undefined> {
  const text = await (await fetch(`${address}/metrics`, { headers: asAdmin })).text();
  const pattern = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm");
  const values = [...text.matchAll(pattern)].map(([, value]) => Number(value));
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0);
}

/** Polls until a condition holds; the test's own timeout bounds the wait. */
export async function eventually(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 20));
}
