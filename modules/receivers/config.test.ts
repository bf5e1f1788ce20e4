import { expect, test } from "vitest";
import { otlpReceiverConfigSchema } from "./config.ts";

test("defaults: loopback, the standard ports, 64 MiB", () => {
  expect(otlpReceiverConfigSchema.parse({})).toMatchObject({
    host: "127.0.0.1",
    httpPort: 4318,
    grpcPort: 4317,
    bodyBytesMax: 67_108_864,
  });
});

test("unknown keys and bounds that cannot work are refused", () => {
  expect(otlpReceiverConfigSchema.safeParse({ hots: "::" }).success).toBe(false);
  expect(otlpReceiverConfigSchema.safeParse({ httpPort: 70_000 }).success).toBe(false);
  const result = otlpReceiverConfigSchema.safeParse({ bytesMax: 100 * 1024 * 1024 });
  expect(result.error?.issues[0].path).toEqual(["bytesMax"]);
});
