/**
 * Sends prepared OTLP requests over HTTP or gRPC, a number at a time, and counts
 * acknowledgements.
 */
import { Agent, request as httpRequest } from "node:http";
import { GrpcClient } from "#pkg/grpc/client.ts";
import { grpcStatus } from "#pkg/grpc/status.ts";

export interface LoadResult {
  seconds: number;
  requests: number;
}

/** Runs `lanes` workers over the list; each takes the next body until none is left. */
async function inLanes(
  bodies: readonly Uint8Array[],
  lanes: number,
  send: (body: Uint8Array) => Promise<void>,
): Promise<LoadResult> {
  const startMs = performance.now();
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < bodies.length) await send(bodies[next++]);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return { seconds: (performance.now() - startMs) / 1000, requests: bodies.length };
}

export async function sendHttp(
  address: string,
  bodies: readonly Uint8Array[],
  lanes: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<LoadResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: lanes });
  try {
    return await inLanes(bodies, lanes, (body) => postHttp({ agent, address, headers }, body));
  } finally {
    agent.destroy();
  }
}

interface HttpPlace {
  agent: Agent;
  address: string;
  headers: Readonly<Record<string, string>>;
}

function postHttp({ agent, address, headers }: HttpPlace, body: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      `${address}/v1/traces`,
      {
        agent,
        method: "POST",
        headers: {
          "content-type": "application/x-protobuf",
          "content-length": body.length,
          ...headers,
        },
      },
      (response) => {
        response.resume();
        response.once("end", () => {
          if (response.statusCode === 200) resolve();
          else reject(new Error(`HTTP ${response.statusCode}`));
        });
      },
    );
    request.once("error", reject);
    request.end(body);
  });
}

export async function sendGrpc(
  address: string,
  bodies: readonly Uint8Array[],
  lanes: number,
  metadata: Readonly<Record<string, string>> = {},
): Promise<LoadResult> {
  const bounds = { timeoutMs: 60_000, answerBytesMax: 1024 * 1024 };
  const client = new GrpcClient({ origin: address, metadata, ...bounds });
  try {
    return await inLanes(bodies, lanes, async (body) => {
      const { status } = await client.call(exportPath, body);
      if (status.code !== grpcStatus.ok) {
        throw new Error(`gRPC status ${status.code}: ${status.message}`);
      }
    });
  } finally {
    client.close();
  }
}

const exportPath = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
