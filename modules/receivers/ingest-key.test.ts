import { expect, test } from "vitest";
import { gzipSync } from "node:zlib";
import { requestKey } from "#pkg/spanlog/retry-memory.ts";
import { demoTrace, sendHttp } from "./client.testing.ts";
import { startReceiver } from "./receiver.testing.ts";

test.each([100, 60_000])(
  "JSON of %i bytes has the key of the JSON as it was sent",
  async (size) => {
    await using receiver = await startReceiver();
    const body = Buffer.from(`{"resourceSpans":[${" ".repeat(size)}]}`);
    const headers = { "content-type": "application/json" };
    await sendHttp(receiver.httpPort, { body, headers });
    const zipped = { body: gzipSync(body), headers: { ...headers, "content-encoding": "gzip" } };
    await sendHttp(receiver.httpPort, zipped);
    const want = requestKey("single-tenant", body).toString("hex");
    const keys = receiver.sink.requests.map(({ key }) => Buffer.from(key!).toString("hex"));
    expect(keys).toEqual([want, want]);
  },
);

test("protobuf goes on without one: the sink makes it of the same bytes", async () => {
  await using receiver = await startReceiver();
  await sendHttp(receiver.httpPort);
  const [{ key, body }] = receiver.sink.requests;
  expect(key).toBeUndefined();
  expect(Buffer.compare(body, demoTrace)).toBe(0);
});
