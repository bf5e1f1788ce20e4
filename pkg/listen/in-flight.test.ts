import { expect, test } from "vitest";
import { Admission, InFlight } from "./in-flight.ts";

test("admits up to the bound of requests and bytes, and again after a release", () => {
  const inFlight = new InFlight(2, 100);
  const [a, b] = [inFlight.admit(), inFlight.admit()];
  expect(() => inFlight.admit()).toThrow(
    expect.objectContaining({ code: "LimitExceeded", retryAfterMs: 1000 }),
  );
  a.resize(60);
  b.resize(40);
  expect(() => b.resize(41)).toThrow(expect.objectContaining({ reason: "bytes_in_flight" }));
  expect(b.bytes).toBe(40);
  a.resize(10);
  b.resize(90);
  expect(inFlight).toMatchObject({ requests: 2, bytes: 100 });
  b.release();
  b.release();
  b.resize(50);
  expect(inFlight).toMatchObject({ requests: 1, bytes: 10 });
  inFlight.admit().release();
  a.release();
  expect(inFlight).toMatchObject({ requests: 0, bytes: 0 });
});

test("idle resolves when the last request is released", async () => {
  const inFlight = new InFlight(2, 100);
  await inFlight.idle();
  const [a, b] = [inFlight.admit(), inFlight.admit()];
  let isIdle = false;
  const idle = inFlight.idle().then(() => {
    isIdle = true;
  });
  a.release();
  await Promise.resolve();
  expect(isIdle).toBe(false);
  b.release();
  await idle;
  expect(isIdle).toBe(true);
});

test("one connection has a part of all, and takes it when its requests begin to come", () => {
  const inFlight = new InFlight(3, 100, 2);
  const connection = { requests: 0 };
  const opened = [1, 2, 3].map(() => new Admission(inFlight, connection));
  expect(inFlight.requests).toBe(0);
  expect(opened[0].lease()).toBe(opened[0].lease());
  opened[1].lease();
  expect(() => opened[2].lease()).toThrow(
    expect.objectContaining({ reason: "connection_requests_in_flight", retryAfterMs: 1000 }),
  );
  new Admission(inFlight).lease();
  opened[0].release();
  opened[2].lease();
  for (const one of opened) one.release();
  expect([inFlight.requests, connection.requests]).toEqual([1, 0]);
});
