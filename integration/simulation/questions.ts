/** Queries to the running process; each result is checked against the model. */
import type { Frontend } from "#modules/frontend/frontend.ts";
import { type SpanSpec, traceDataOf } from "#pkg/engine/testing/spans.ts";
import { formatTraceJson } from "#pkg/otlp/json-encode.ts";
import type { Model, SentRequest, SentTrace } from "./model.ts";

/** Outcome of a query. */
export interface Outcome {
  /** "full", "partial", "missing", or "error <status>". */
  kind: string;
  /** Reason why the result is not full; "" if it is. */
  why: string;
  /** Contradictions to the model. */
  problems: string[];
}

/** Target of a query. */
export interface Question {
  frontend: Frontend;
  /** The result may lack spans that were acknowledged after this time. */
  acknowledgedBeforeMs: number;
}

interface Reply {
  status: number;
  text: string;
  partial: string | null;
}

const second = 1_000_000_000n;

async function ask(frontend: Frontend, path: string, tenant: string): Promise<Reply> {
  const request = new Request(`http://simulation${path}`);
  const response = await frontend.answer(request, [tenant]);
  const text = await response.text();
  return { status: response.status, text, partial: response.headers.get("X-Spoor-Partial") };
}

/** Queries a trace by its id. */
export async function askTrace(
  { frontend, acknowledgedBeforeMs }: Question,
  { traceId, tenant, spans }: SentTrace,
): Promise<Outcome> {
  // Spans that are sent during the query may be in the result, too.
  const must = spans
    .filter(({ request }) => request.acknowledgedMs < acknowledgedBeforeMs)
    .map(({ spec }) => spec.spanId);
  const reply = await ask(frontend, `/api/v2/traces/${traceId}`, tenant);
  const about = `trace ${traceId} of ${tenant}`;
  if (reply.status === 404) {
    const problems = must.length === 0 ? [] : [`${about}: not found, it has ${must.length} spans`];
    return { kind: "missing", why: "", problems };
  }
  if (reply.status !== 200) return failed(about, reply);
  const { trace } = JSON.parse(reply.text) as { trace: JsonTrace };
  const found = spansIn(trace);
  const problems = checkSpans(about, found, spans);
  const isPartial = reply.text.includes('"status":"PARTIAL"');
  if (isPartial !== (reply.partial !== null)) problems.push(`${about}: header and body differ`);
  const missing = isPartial ? [] : must.filter((id) => !found.some(({ spanId }) => spanId === id));
  if (missing.length > 0) problems.push(`${about}: lacks spans ${missing.join()}`);
  return { kind: isPartial ? "partial" : "full", why: reply.partial ?? "", problems };
}

/** Checks that each span is found once, with the content that was sent. */
function checkSpans(
  about: string,
  found: readonly FoundSpan[],
  sent: SentTrace["spans"],
): string[] {
  const specs = new Map(sent.map(({ spec }) => [spec.spanId, spec]));
  const problems: string[] = [];
  const seen = new Set<string>();
  for (const { spanId, facts } of found) {
    if (seen.has(spanId)) problems.push(`${about}: has span ${spanId} twice`);
    seen.add(spanId);
    const spec = specs.get(spanId);
    const expected = spec === undefined ? "nothing" : factsOf(spec);
    if (facts !== expected) problems.push(`${about}: has ${facts}, sent was ${expected}`);
  }
  return problems;
}

interface JsonSpan {
  spanId: string;
  attributes?: { key: string }[];
}

interface JsonTrace {
  resourceSpans?: { resource: object; scopeSpans: { spans: JsonSpan[] }[] }[];
}

interface FoundSpan {
  spanId: string;
  /** JSON of the span and its resource. */
  facts: string;
}

/** Returns the facts that a result must have for a span. */
function factsOf(spec: SpanSpec): string {
  const text = formatTraceJson(traceDataOf([spec]), { dialect: "tempo", key: "resourceSpans" });
  return spansIn(JSON.parse(text) as JsonTrace)[0].facts;
}

function spansIn({ resourceSpans = [] }: JsonTrace): FoundSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const spans = scopeSpans.flatMap((scope) => scope.spans);
    return spans.map((span) => {
      const { spanId, attributes = [] } = span;
      // The order of attributes is irrelevant.
      const sorted = attributes.toSorted((a, b) => (a.key < b.key ? -1 : 1));
      const facts = JSON.stringify({ ...span, attributes: sorted, resource });
      return { spanId: Buffer.from(spanId, "base64").toString("hex"), facts };
    });
  });
}

/** Searches for the spans of a request and counts them. */
export async function askRequest(
  { frontend, acknowledgedBeforeMs }: Question,
  request: SentRequest,
): Promise<Outcome> {
  const { name, tenant, spans } = request;
  const isMust = request.acknowledgedMs < acknowledgedBeforeMs;
  const starts = spans.map(({ startNano }) => startNano / second);
  const q = encodeURIComponent(`{ span.request = "${name}" }`);
  const from = starts.reduce((a, b) => (b < a ? b : a)) - 1n;
  const to = starts.reduce((a, b) => (b > a ? b : a)) + 2n;
  const path = `/api/search?q=${q}&start=${from}&end=${to}&limit=1000&spss=1`;
  const reply = await ask(frontend, path, tenant);
  const about = `search of ${name} of ${tenant}`;
  if (reply.status !== 200) return failed(about, reply);
  const expected = new Map<string, number>();
  for (const { traceId } of spans) expected.set(traceId, (expected.get(traceId) ?? 0) + 1);
  const { traces } = JSON.parse(reply.text) as {
    traces: { traceID: string; spanSet: { matched: number } }[];
  };
  const problems: string[] = [];
  const isFull = reply.partial === null;
  for (const { traceID, spanSet } of traces) {
    const count = expected.get(traceID) ?? 0;
    const isRight = isFull && isMust ? spanSet.matched === count : spanSet.matched <= count;
    if (!isRight) problems.push(`${about}: ${spanSet.matched} of ${count} spans of ${traceID}`);
    expected.delete(traceID);
  }
  if (isFull && isMust && expected.size > 0) {
    problems.push(`${about}: lacks traces ${[...expected.keys()].join()}`);
  }
  return { kind: isFull ? "full" : "partial", why: reply.partial ?? "", problems };
}

const tagNames: ReadonlySet<string> = new Set(["request", "shard", "number"]);

/** Queries the attribute names of spans. */
export async function askTags(
  { frontend, acknowledgedBeforeMs }: Question,
  model: Model,
  { tenant, start, end }: { tenant: string; start: number; end: number },
): Promise<Outcome> {
  const path = `/api/v2/search/tags?scope=span&start=${start}&end=${end}`;
  const isInRange = (nano: bigint): boolean =>
    nano >= BigInt(start) * second && nano < BigInt(end) * second;
  const isMust = model.requests.some(
    (request) =>
      request.tenant === tenant &&
      request.acknowledgedMs < acknowledgedBeforeMs &&
      request.spans.some(({ startNano }) => isInRange(startNano)),
  );
  const reply = await ask(frontend, path, tenant);
  const about = `tags of ${tenant}`;
  if (reply.status !== 200) return failed(about, reply);
  const { scopes } = JSON.parse(reply.text) as { scopes: { name: string; tags: string[] }[] };
  const tags = scopes.flatMap((scope) => (scope.name === "span" ? scope.tags : []));
  const problems = tags.filter((tag) => !tagNames.has(tag)).map((tag) => `${about}: has ${tag}`);
  const isFull = reply.partial === null;
  if (isFull && isMust && tags.length < tagNames.size) {
    problems.push(`${about}: has ${tags.join()} only`);
  }
  return { kind: isFull ? "full" : "partial", why: reply.partial ?? "", problems };
}

/** Returns the outcome of an error; its text must not be empty. */
function failed(about: string, { status, text }: Reply): Outcome {
  const isClear = [429, 503, 504].includes(status) && text.length > 10;
  return {
    kind: `error ${status}`,
    why: text,
    problems: isClear ? [] : [`${about}: status ${status} ${JSON.stringify(text)}`],
  };
}
