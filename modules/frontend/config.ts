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
    .describe("Port of the HTTP API; 0 picks a free one."),
  partialResults: z
    .enum(["answer", "error"])
    .default("answer")
    .describe(
      "Response when something could not be read: the rest, marked as partial (answer), or " +
        "status 503 (error).",
    ),
  queryTimeoutMs: positive.default(60_000).describe("Longest time of a query, milliseconds."),
  storeStallMs: positive
    .default(10_000)
    .describe(
      "How long a query waits for a bucket that does not respond, milliseconds; at most half of " +
        "query_timeout. The query then returns live spans only, marked as partial. A bucket that " +
        "responds slowly has three quarters of query_timeout.",
    ),
  queriesMax: positive
    .default(256)
    .describe("Queries that run or wait; further ones are refused with 429."),
  queriesRunningMax: positive
    .default(64)
    .describe("Queries that run at the same time; others wait, and tenants take turns."),
  tenantQueriesRunningMax: positive
    .default(16)
    .describe(
      "Queries of one tenant that run at the same time, unless its limit queries_max is set.",
    ),
  slowQueryMs: positive
    .default(10_000)
    .describe("Queries that take this long are logged with their parameters, milliseconds."),
  concurrency: positive
    .max(1024)
    .default(16)
    .describe("Requests of one query to heads, blocks and jobs of row groups at the same time."),
  jobBytesMax: positive
    .default(4 * 1024 * 1024)
    .describe("Bytes of row groups in one job; a larger row group has a job of its own."),
  jobRowGroupsMax: positive
    .max(1024)
    .default(64)
    .describe("Row groups in one job, however small they are."),
  queryMemoryBytesMax: positive
    .default(256 * 1024 * 1024)
    .describe("Memory of one search for its candidate traces, bytes; beyond it, an error."),
  tagMemoryBytesMax: positive
    .default(8 * 1024 * 1024)
    .describe("Memory of one request for tag names or values, bytes; the rarest are dropped."),
  tagAnswerBytesMax: positive
    .default(1_000_000)
    .describe("Largest response with tags, bytes; the least frequent are left out."),
  searchLimitMax: positive.default(262_144).describe("Largest limit (traces) of one search."),
  spansPerTraceMax: positive.default(100).describe("Largest spss (spans per trace) of one search."),
  connectionsMax: positive
    .default(10_000)
    .describe("Open connections; further ones are closed at once."),
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
