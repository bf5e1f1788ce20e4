/**
 * Deletes of many objects for servers that know no CRC-32. The SDK always sends a checksum with
 * these requests, as S3 demands one; servers from before 2022 know Content-MD5 alone.
 */
import { createHash } from "node:crypto";
import type { S3Client } from "@aws-sdk/client-s3";

interface SentRequest {
  headers: Record<string, string>;
  body?: unknown;
}

/** Makes the client send Content-MD5 with deletes of many objects, and no other checksum. */
export function useContentMd5(client: S3Client): void {
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        if (commandName === "DeleteObjectsCommand") replaceChecksum(args.request as SentRequest);
        return await next(args);
      },
    // After the SDK's own checksum, before the signature.
    { step: "build", priority: "low", name: "spoorContentMd5" },
  );
}

function replaceChecksum({ headers, body }: SentRequest): void {
  for (const name of Object.keys(headers)) {
    if (/^x-amz-(?:checksum-|sdk-checksum-|trailer)/i.test(name)) delete headers[name];
  }
  const bytes = typeof body === "string" ? body : Buffer.from(body as Uint8Array);
  headers["content-md5"] = createHash("md5").update(bytes).digest("base64");
}
