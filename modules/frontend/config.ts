/** Settings of the frontend. Sizes are bytes, durations milliseconds. */
import { z } from "zod";
import { isListenHost, listenHostError } from "#pkg/listen/listen.ts";

export interface FrontendConfig {
  host: string;
  port: number;
  partialResults: "answer" | "error";
  queryTimeoutMs: number;
  storeStallMs: number;
  queriesMax: number;
  queriesRunningMax: number;
  tenantQueriesRunningMax: number;
  slowQueryMs: number;
  concurrency: number;
  jobBytesMax: number;
  jobRowGroupsMax: number;
  queryMemoryBytesMax: number;
  tagMemoryBytesMax: number;
  tagAnswerBytesMax: number;
  searchLimitMax: number;
  spansPerTraceMax: number;
  connectionsMax: number;
  headersTimeoutMs: number;
  requestTimeoutMs: number;
  idleTimeoutMs: number;
}

const positive: z.ZodNumber = z.number().int().positive();

export const frontendConfig: z.ZodType<FrontendConfig, Partial<FrontendConfig>> = z.strictObject({
  host: z
    .string()
    .default("127.0.0.1")
    .refine(isListenHost, { error: listenHostError })
    .describe("Address that the API listens on."),
  port: z
    .number()
    .int()
    .min(0)
    .max(65_535)
    .default(3200)
    .describe("Port of the HTTP API; 0 takes a free one."),
  partialResults: z
    .enum(["answer", "error"])
    .default("answer")
    .describe(
      "What a query gets when something could not be read: the rest, marked as partial, or 503.",
    ),
  queryTimeoutMs: positive.default(60_000).describe("How long a query may take, milliseconds."),
  storeStallMs: positive
    .default(10_000)
    .describe(
      "How long a query waits for a bucket that answers nothing, milliseconds; then it is " +
        "answered from live spans, as partial. One that answers slowly has three quarters of " +
        "query_timeout.",
    ),
  queriesMax: positive
    .default(256)
    .describe("Queries that run or wait for their turn; more are told to retry."),
  queriesRunningMax: positive
    .default(64)
    .describe("Queries that run at a time; others wait, and tenants take turns."),
  tenantQueriesRunningMax: positive
    .default(16)
    .describe("Queries of one tenant that run at a time, where its limit queries_max is not set."),
  slowQueryMs: positive
    .default(10_000)
    .describe("A query that takes this long is logged with its parameters, milliseconds."),
  concurrency: positive
    .max(1024)
    .default(16)
    .describe("Heads, blocks and jobs of row groups that one query asks at a time."),
  jobBytesMax: positive
    .default(4 * 1024 * 1024)
    .describe("Bytes of small row groups that are asked in one job; a larger one is alone."),
  jobRowGroupsMax: positive
    .max(1024)
    .default(64)
    .describe("Row groups that are asked in one job, however small they are."),
  queryMemoryBytesMax: positive
    .default(256 * 1024 * 1024)
    .describe("Memory of one search for the traces that it knows of, bytes; beyond it, an error."),
  tagMemoryBytesMax: positive
    .default(8 * 1024 * 1024)
    .describe("Memory of one question for names or values of tags, bytes; the rarest are dropped."),
  tagAnswerBytesMax: positive
    .default(1_000_000)
    .describe("Longest answer about tags, bytes; what is less frequent is left out."),
  searchLimitMax: positive.default(262_144).describe("Most traces that one search may ask for."),
  spansPerTraceMax: positive
    .default(100)
    .describe("Most spans per trace that one search may ask for."),
  connectionsMax: positive.default(10_000).describe("Open connections; more are closed at once."),
  headersTimeoutMs: positive
    .default(10_000)
    .describe("Time for a client to send its request's headers, milliseconds."),
  requestTimeoutMs: positive
    .default(30_000)
    .describe("Time for a client to send its whole request, milliseconds."),
  idleTimeoutMs: positive
    .default(75_000)
    .describe("Time after which a connection without requests is closed, milliseconds."),
});
