/** The model that a simulation is checked against: sent requests and their acknowledgements. */
import { type SpanSpec, traceDataOf } from "#pkg/engine/testing/spans.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import type { Dice } from "./dice.ts";

export interface SentRequest {
  /** "r17"; each span of the request has it as an attribute. */
  name: string;
  tenant: string;
  spans: readonly SpanSpec[];
  /** The bytes of all attempts. */
  body: Uint8Array;
  firstSentMs: number;
  /** Time of the first acknowledgement; infinite if there is none. */
  acknowledgedMs: number;
}

export interface SentTrace {
  traceId: string;
  tenant: string;
  /** Every sent span, with its request. */
  spans: { spec: SpanSpec; request: SentRequest }[];
}

export const tenants: readonly string[] = ["busy", "quiet", "rare"];

/** Number of traces per tenant that may get more spans. */
const openTraces = 40;

export class Model {
  readonly requests: SentRequest[] = [];
  readonly traces: Map<string, SentTrace> = new Map();
  readonly #dice: Dice;
  readonly #recent = new Map<string, SentTrace[]>();
  #spanCount = 0;

  constructor(dice: Dice) {
    this.#dice = dice;
  }

  get acknowledgedSpans(): number {
    const acknowledged = this.requests.filter(({ acknowledgedMs }) => acknowledgedMs < Infinity);
    return acknowledged.reduce((sum, { spans }) => sum + spans.length, 0);
  }

  /** Makes a request as SDKs send them: parts of a few traces, new and earlier ones. */
  makeRequest(tenant: string, nowMs: number): SentRequest {
    const dice = this.#dice;
    const name = `r${this.requests.length}`;
    const parts: [SentTrace, SpanSpec[]][] = [];
    for (let left = dice.between(1, 4); left > 0; left--) {
      const trace = this.#pickTrace(tenant);
      const count = dice.chance(0.03) ? dice.between(30, 80) : dice.between(1, 6);
      parts.push([trace, this.#makeSpans(trace, name, count, nowMs)]);
    }
    const spans = parts.flatMap(([, specs]) => specs);
    const body = Uint8Array.from(encodeTraceData(traceDataOf(spans)));
    const request = { name, tenant, spans, body, firstSentMs: nowMs, acknowledgedMs: Infinity };
    for (const [trace, specs] of parts) {
      for (const spec of specs) trace.spans.push({ spec, request });
    }
    this.requests.push(request);
    return request;
  }

  #pickTrace(tenant: string): SentTrace {
    const dice = this.#dice;
    const recent = this.#recent.get(tenant) ?? [];
    this.#recent.set(tenant, recent);
    if (recent.length > 0 && dice.chance(0.3)) return dice.pick(recent);
    const trace: SentTrace = { traceId: dice.hex(32), tenant, spans: [] };
    this.traces.set(trace.traceId, trace);
    recent.push(trace);
    if (recent.length > openTraces) recent.splice(dice.below(recent.length), 1);
    return trace;
  }

  #makeSpans(trace: SentTrace, request: string, count: number, nowMs: number): SpanSpec[] {
    const dice = this.#dice;
    const startNano = BigInt(nowMs - this.#ageMs()) * 1_000_000n;
    return Array.from({ length: count }, (_, i): SpanSpec => {
      const number = ++this.#spanCount;
      const spanId = number.toString(16).padStart(16, "0");
      const from = startNano + BigInt(i) * 1_000_000n;
      return {
        traceId: trace.traceId,
        spanId,
        parentId: i === 0 ? undefined : (number - i).toString(16).padStart(16, "0"),
        service: `service ${number % 7}`,
        name: `span ${number}`,
        startNano: from,
        endNano: from + BigInt(dice.magnitude(1000, 2_000_000_000)),
        isError: dice.chance(0.1),
        attributes: { request, shard: `s${number % 5}`, number: BigInt(number) },
      };
    });
  }

  /** Returns the age of spans: most are recent, some arrive late, some have a wrong clock. */
  #ageMs(): number {
    const dice = this.#dice;
    if (dice.chance(0.9)) return dice.between(0, 5000);
    if (dice.chance(0.8)) return dice.magnitude(10_000, 10 * 3_600_000);
    return dice.chance(0.5) ? 40 * 3_600_000 : -3_600_000;
  }
}
