/** Settings of the OTLP receivers. Sizes are bytes, durations milliseconds. */
import { z } from "zod";
import { isListenHost, listenHostError } from "#pkg/listen/listen.ts";

const mebibyte = 1024 * 1024;

export interface OtlpReceiverConfig {
  host: string;
  httpPort: number;
  grpcPort: number;
  bodyBytesMax: number;
  requestsMax: number;
  connectionRequestsMax: number;
  bytesMax: number;
  connectionsMax: number;
  headersTimeoutMs: number;
  requestTimeoutMs: number;
  idleTimeoutMs: number;
  retryAfterMs: number;
  jsonThreads: number;
  corsAllowedOrigins: string[];
}

/** Returns whether `text` is an origin as browsers send it (scheme, host and port), or "*". */
function isOrigin(text: string): boolean {
  return text === "*" || URL.parse(text)?.origin === text;
}

export const otlpReceiverConfigSchema: z.ZodType<OtlpReceiverConfig> = z
  .strictObject({
    host: z
      .string()
      .default("127.0.0.1")
      .refine(isListenHost, { error: listenHostError })
      .describe("Address that both OTLP servers listen on"),
    httpPort: z
      .int()
      .min(0)
      .max(65_535)
      .default(4318)
      .describe("Port of OTLP/HTTP; 0 picks a free one"),
    grpcPort: z
      .int()
      .min(0)
      .max(65_535)
      .default(4317)
      .describe("Port of OTLP/gRPC; 0 picks a free one"),
    bodyBytesMax: z
      .int()
      .min(1024)
      .max(1024 * mebibyte)
      .default(64 * mebibyte)
      .describe("Largest request after decompression, bytes"),
    requestsMax: z
      .int()
      .min(1)
      .default(4096)
      .describe("Requests in flight, over both protocols; further ones must retry"),
    connectionRequestsMax: z
      .int()
      .min(1)
      .default(128)
      .describe("Requests in flight of one gRPC connection; clients hold back further ones"),
    bytesMax: z
      .int()
      .min(mebibyte)
      .default(256 * mebibyte)
      .describe(
        "Bytes of request bodies in memory, over both protocols; beyond, clients must retry",
      ),
    connectionsMax: z
      .int()
      .min(1)
      .default(10_000)
      .describe("Open connections per server; further ones are closed at once"),
    headersTimeoutMs: z
      .int()
      .min(1)
      .default(10_000)
      .describe("Time for a client to send its request's headers, ms"),
    requestTimeoutMs: z
      .int()
      .min(1)
      .default(30_000)
      .describe("Time for a client to send its whole request, ms"),
    idleTimeoutMs: z
      .int()
      .min(1)
      .default(300_000)
      .describe("Time after which a connection without traffic is closed, ms"),
    retryAfterMs: z
      .int()
      .min(1)
      .default(5000)
      .describe("Retry delay sent to clients if the refusal has none of its own, ms"),
    jsonThreads: z
      .int()
      .min(1)
      .max(64)
      .default(1)
      .describe("Worker threads that convert large JSON bodies"),
    corsAllowedOrigins: z
      .array(z.string().refine(isOrigin, { error: "must be * or like https://app.example.com" }))
      .default(["*"])
      .describe('Origins whose pages may send spans; "*" is any, an empty list is none'),
  })
  .refine((config) => config.bytesMax >= 2 * config.bodyBytesMax, {
    path: ["bytesMax"],
    error: "must be at least twice bodyBytesMax, or no request of that size could be inflated",
  });
