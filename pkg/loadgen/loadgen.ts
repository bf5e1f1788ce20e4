/**
 * The door of pkg/loadgen: generated traffic and known traces.
 */
export { type KnownTrace, compareWithKnown, makeKnownTrace } from "./known-trace.ts";
export { Latencies } from "./latency.ts";
export { Traffic, type TrafficRequest } from "./traffic.ts";
