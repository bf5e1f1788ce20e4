/** The output of `spoor load`. */
import { escapeControls } from "#cmd/spoor/commands/escape.ts";
import type { LoadCounts } from "./run-load.ts";

export interface LoadSummary {
  seconds: number;
  traces: number;
  sentSpans: number;
  sentRequests: number;
  acknowledgedSpans: number;
  acknowledgedRequests: number;
  rejectedSpans: number;
  givenUpSpans: number;
  /** Refused attempts by reason. */
  refusedRequests: Record<string, number>;
  acknowledgedSpansPerSecond: number;
  latencyMs: { p50: number; p90: number; p99: number; max: number };
  /** CPU of this process, seconds per million spans sent. */
  cpuSecondsPerMillionSpans: number;
}

export interface LoadFacts {
  seconds: number;
  traces: number;
  cpuSeconds: number;
}

export function summaryOf(counts: LoadCounts, facts: LoadFacts): LoadSummary {
  const { latencies, refused } = counts;
  const { seconds, traces, cpuSeconds } = facts;
  const millions = Math.max(1, counts.sentSpans) / 1e6;
  return {
    seconds: rounded(seconds),
    traces,
    sentSpans: counts.sentSpans,
    sentRequests: counts.sentRequests,
    acknowledgedSpans: counts.acknowledgedSpans,
    acknowledgedRequests: counts.acknowledgedRequests,
    rejectedSpans: counts.rejectedSpans,
    givenUpSpans: counts.givenUpSpans,
    refusedRequests: Object.fromEntries(
      [...refused].map(([name, { requests }]) => [name, requests]),
    ),
    acknowledgedSpansPerSecond: Math.round(counts.acknowledgedSpans / Math.max(seconds, 0.001)),
    latencyMs: {
      p50: rounded(latencies.percentileMs(0.5)),
      p90: rounded(latencies.percentileMs(0.9)),
      p99: rounded(latencies.percentileMs(0.99)),
      max: rounded(latencies.maxMs),
    },
    cpuSecondsPerMillionSpans: rounded(cpuSeconds / millions),
  };
}

/** Returns one progress line. */
export function progressLine(counts: LoadCounts, seconds: number): string {
  const { sentSpans, acknowledgedSpans, inFlight, latencies } = counts;
  const rate = Math.round(acknowledgedSpans / Math.max(seconds, 0.001));
  const attempts = [...counts.refused.values()].reduce((sum, { requests }) => sum + requests, 0);
  return (
    `${seconds.toFixed(0).padStart(4)} s  sent ${count(sentSpans)}  ` +
    `acknowledged ${count(acknowledgedSpans)} (${count(rate)}/s)  refused requests ` +
    `${count(attempts)}  in flight ${inFlight}  p99 ${latencies.percentileMs(0.99).toFixed(0)} ms\n`
  );
}

export function summaryText(summary: LoadSummary, counts: LoadCounts): string {
  const { latencyMs } = summary;
  const spans = (value: number): string => `${count(value).padStart(14)} spans`;
  const lines = [
    `sent          ${spans(summary.sentSpans)} in ${count(summary.sentRequests)} requests, ` +
      `${count(summary.traces)} traces, ${summary.seconds} s`,
    `acknowledged  ${spans(summary.acknowledgedSpans)} ` +
      `(${count(summary.acknowledgedSpansPerSecond)} spans/s)`,
    `rejected      ${spans(summary.rejectedSpans)}`,
    `given up      ${spans(summary.givenUpSpans)}`,
    `latency       p50 ${latencyMs.p50} ms, p90 ${latencyMs.p90} ms, p99 ${latencyMs.p99} ms, ` +
      `max ${latencyMs.max} ms`,
    `own CPU       ${summary.cpuSecondsPerMillionSpans} s per million spans`,
  ];
  for (const [reason, { requests, message }] of counts.refused) {
    const said = message === "" ? "" : `: ${escapeControls(message.slice(0, 200))}`;
    lines.push(`refused       ${count(requests).padStart(14)} requests, ${reason}${said}`);
  }
  return `${lines.join("\n")}\n`;
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
