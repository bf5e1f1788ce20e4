/**
 * Multi-object deletes for servers without CRC-32. S3 requires a checksum with these requests, so
 * the SDK always sends one; servers from before 2022 support Content-MD5 only.
 */
import { createHash } from "node:crypto";
import type { S3Client } from "@aws-sdk/client-s3";

interface SentRequest {
  headers: Record<string, string>;
  body?: unknown;
}

/** Makes the client send Content-MD5, and no other checksum, with multi-object deletes. */
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
