import { expect, test } from "vitest";
import { redactUserinfo } from "./redact.ts";

test.each([
  ["http://user:secret@host:9000/bucket", "http://<redacted>@host:9000/bucket"],
  ["get https://key@host/x?y: failed", "get https://<redacted>@host/x?y: failed"],
  ["http://a:p@ss@host and s3+x://b:c@d", "http://<redacted>@host and s3+x://<redacted>@d"],
  ["http://host/path@2/mail me@example.com", "http://host/path@2/mail me@example.com"],
  ["no url", "no url"],
])("%j becomes %j", (text, shown) => {
  expect(redactUserinfo(text)).toBe(shown);
});
