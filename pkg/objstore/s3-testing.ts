/** A server of a test that answers what the test says, and what it was asked. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import type { ObjectStore } from "./objstore.ts";
import { openS3Store } from "./s3.ts";
import type { S3Options } from "./s3-options.ts";

export interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage["headers"];
  body: Buffer;
}

export interface Answer {
  status: number;
  headers?: Record<string, string>;
  body?: string | Buffer;
  /** Ends the connection after the body, however long it was said to be. */
  cutOff?: boolean;
}

/** Runs until the test ends. */
export async function serveS3(
  answer: (request: Seen) => Answer | Promise<Answer>,
  over: Partial<S3Options> = {},
): Promise<{ store: ObjectStore; seen: Seen[] }> {
  const seen: Seen[] = [];
  const onRequest = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const { method = "", url = "", headers } = request;
    const one = { method, url, headers, body: Buffer.concat(chunks) };
    seen.push(one);
    const { status, headers: sent = {}, body = "", cutOff } = await answer(one);
    response.writeHead(status, sent);
    if (cutOff === true) response.write(body, () => response.destroy());
    else response.end(body);
  };
  const server = createServer((request, response) => void onRequest(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  const { port } = server.address() as AddressInfo;
  const endpoint = `http://127.0.0.1:${port}`;
  return { store: openS3Store({ ...s3TestOptions(endpoint), ...over }), seen };
}

export function s3TestOptions(endpoint: string): S3Options {
  return {
    bucket: "b",
    endpoint,
    region: "eu-west-1",
    pathStyle: true,
    accessKeyId: "id",
    secretAccessKey: "secret",
    sessionToken: "",
    encryption: "none",
    kmsKeyId: "",
    storageClass: "",
    tags: {},
    partBytes: 5 * 1024 * 1024,
    checksums: "when_supported",
  };
}

/** The body of an error. */
export function xml(code: string, more = ""): string {
  return `<?xml version="1.0"?><Error><Code>${code}</Code><Message>said so</Message>${more}</Error>`;
}
