import { once } from "node:events";
import { type Client, credentials, makeGenericClientConstructor, Metadata } from "@grpc/grpc-js";
import { expect, onTestFinished, test } from "vitest";
import { frameMessage } from "./frame.ts";
import { openStream, sendBytes, serveMethods } from "./grpc.testing.ts";
import { Health } from "./health.ts";

const check = "/grpc.health.v1.Health/Check";
const watch = "/grpc.health.v1.Health/Watch";
const serving = [0, 0, 0, 0, 2, 8, 1];
const notServing = [0, 0, 0, 0, 2, 8, 2];
const unknown = [0, 0, 0, 0, 2, 8, 3];

function asking(service: string): Buffer {
  const name = Buffer.from(service);
  return frameMessage(name.length === 0 ? name : Buffer.from([0x0a, name.length, ...name]));
}

test("Check tells the status of the port and of its services", async () => {
  const health = new Health(["shop.Cart"]);
  await using grpc = await serveMethods(health.methods());
  const ask = async (service: string): Promise<unknown[]> => {
    const answer = await sendBytes(openStream(grpc.session, check), asking(service));
    return [answer.headers["grpc-status"], ...answer.body];
  };
  expect(await ask("")).toEqual(["0", ...serving]);
  expect(await ask("shop.Cart")).toEqual(["0", ...serving]);
  expect(await ask("shop.Other")).toEqual(["5"]);
  health.stop();
  expect(await ask("shop.Cart")).toEqual(["0", ...notServing]);
});

test("Watch tells it at once, and the stop of the port, which it does not hold up", async () => {
  const health = new Health(["shop.Cart"]);
  await using grpc = await serveMethods(health.methods());
  const watched = ["shop.Cart", "shop.Other"].map(async (service) => {
    const stream = openStream(grpc.session, watch);
    const answer = sendBytes(stream, asking(service));
    await once(stream, "data");
    return answer;
  });
  // Both have their first answer when a later call has its own.
  await sendBytes(openStream(grpc.session, check), asking(""));
  health.stop();
  await grpc.server.stop();
  const [known, other] = await Promise.all(watched);
  expect([...known.body]).toEqual([...serving, ...notServing]);
  expect([...other.body]).toEqual([...unknown, ...unknown]);
  expect([known.headers["grpc-status"], other.headers["grpc-status"]]).toEqual(["14", "14"]);
});

test("calls that watch are bounded, and one that ends makes room", async () => {
  const health = new Health([], 1);
  await using grpc = await serveMethods(health.methods());
  const first = openStream(grpc.session, watch);
  first.on("error", () => undefined);
  first.end(asking(""));
  await once(first, "data");
  const second = await sendBytes(openStream(grpc.session, watch), asking(""));
  expect(second.headers["grpc-status"]).toBe("8");
  expect(grpc.failed.map(({ reason }) => reason)).toEqual(["health_watchers"]);
  first.close(8);
  for (;;) {
    const stream = openStream(grpc.session, watch);
    stream.end(asking(""));
    stream.on("error", () => undefined);
    const [headers] = (await once(stream, "response")) as [Record<string, string>];
    stream.close(8);
    if (headers["grpc-status"] === undefined) break;
  }
});

test("grpc-js watches a port", async () => {
  const health = new Health([]);
  await using grpc = await serveMethods(health.methods());
  const Generic = makeGenericClientConstructor({}, "raw");
  const client: Client = new Generic(`127.0.0.1:${grpc.port}`, credentials.createInsecure());
  onTestFinished(() => client.close());
  const same = (bytes: Buffer): Buffer => bytes;
  const call = client.makeServerStreamRequest(watch, same, same, Buffer.alloc(0), new Metadata());
  const got: number[][] = [];
  const ended = new Promise<{ code: number; details: string }>((resolve) => {
    call.on("error", (error) => resolve(error as unknown as { code: number; details: string }));
  });
  call.on("data", (bytes: Buffer) => {
    got.push([...bytes]);
    if (got.length === 1) health.stop();
  });
  expect(await ended).toMatchObject({ code: 14, details: "the server is stopping" });
  expect(got).toEqual([
    [8, 1],
    [8, 2],
  ]);
});
