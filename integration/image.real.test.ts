/**
 * The image builds, runs as any user on a read-only root file system with a writable /data, answers
 * requests, and stops cleanly.
 */
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildImage, type Image, type Running } from "#integration/parts/image.ts";
import { traceDataOf } from "#pkg/engine/testing/spans.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";

let image: Image;
let dataDir: string;
const uid: number = 20_000 + Math.floor(Math.random() * 40_000);

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "spoor-image-data-"));
  await chmod(dataDir, 0o777);
  image = await buildImage();
});

afterAll(async () => {
  await image.remove();
  await rm(dataDir, { recursive: true, force: true });
});

interface Server {
  running: Running;
  address: string;
  otlp: string;
}

async function serve(): Promise<Server> {
  const { Entrypoint, Cmd } = image.config;
  const local = ["--host", "127.0.0.1", "--http-port", "0"];
  const command = [
    ...Entrypoint,
    ...Cmd,
    ...local,
    "--otlp-http-port",
    "0",
    "--otlp-grpc-port",
    "0",
  ];
  const running = image.start(command, { user: `${uid}:${uid}`, dataDir });
  const addressOf = (name: string): string | undefined =>
    new RegExp(`${name}\\s+(http://\\S+)`).exec(running.output())?.[1];
  await expect
    .poll(() => running.output(), { timeout: 60_000, message: "it should say that it is ready" })
    .toMatch(/^ready$/m);
  return { running, address: addressOf("API")!, otlp: addressOf("OTLP/HTTP")! };
}

test("the image says who runs it and how its health is seen", () => {
  const { User, Healthcheck, Volumes } = image.config;
  expect(User).toBe("65532:65532");
  expect(Healthcheck.Test[0]).toBe("CMD");
  expect(Object.keys(Volumes)).toEqual(["/data"]);
});

test.each(["0:0", `${uid}:${uid}`])("user %s can write nothing but /data", async (user) => {
  const script =
    "for (const dir of ['/', '/spoor', '/tmp', '/etc', '/data']) try { " +
    "require('fs').writeFileSync(dir + '/probe', ''); console.log(dir) } catch {}";
  const running = image.start(["node", "-e", script], { user, dataDir });
  expect(await running.exited, running.output()).toBe(0);
  expect(running.output().trim()).toBe("/data");
  await rm(join(dataDir, "probe"));
});

test("it takes spans, answers, is healthy, stops cleanly, and has them after a restart", async () => {
  const traceId = "c".repeat(32);
  const startNano = BigInt(Date.now()) * 1_000_000n;
  const spec = { traceId, spanId: "d".repeat(16), service: "shop" };
  const body = encodeTraceData(traceDataOf([{ ...spec, startNano, endNano: startNano + 1n }]));
  const { running, address, otlp } = await serve();
  const response = await fetch(`${otlp}/v1/traces`, {
    method: "POST",
    headers: { "content-type": "application/x-protobuf" },
    body: body as Uint8Array<ArrayBuffer>,
  });
  expect(response.status).toBe(200);
  const status = async (at: string): Promise<number> =>
    (await fetch(`${at}/api/v2/traces/${traceId}`)).status;
  await expect.poll(() => status(address)).toBe(200);
  const [, ...check] = image.config.Healthcheck.Test;
  const healthOf = async (port: string): Promise<number> => {
    const command = check.map((part) => part.replace("127.0.0.1:3200", `127.0.0.1:${port}`));
    return (await image.run(command, { user: `${uid}:${uid}`, dataDir })).code;
  };
  expect(await healthOf(new URL(address).port)).toBe(0);
  running.signal("SIGTERM");
  expect(await running.exited, running.output()).toBe(0);
  expect(await healthOf(new URL(address).port)).toBe(1);
  const again = await serve();
  expect(await status(again.address)).toBe(200);
  again.running.signal("SIGTERM");
  expect(await again.running.exited).toBe(0);
});
