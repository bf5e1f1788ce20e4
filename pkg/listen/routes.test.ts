import type { IncomingMessage } from "node:http";
import { expect, test } from "vitest";
import { findRoute, type RouteFacts } from "./routes.ts";

const facts = { right: "write", params: [], answers: ["text/plain"] } as const;
const routes: readonly RouteFacts[] = [
  { path: "/v1/traces", method: "post", ...facts },
  { path: "/v1/traces", method: "get", ...facts },
  { path: "/any", method: "any", ...facts },
];

function find(method: string, url: string): ReturnType<typeof findRoute> {
  return findRoute(routes, { method, url } as IncomingMessage);
}

test.each([
  ["POST", "/v1/traces", 0],
  ["GET", "/v1/traces?a=b", 1],
  ["HEAD", "//v1//traces", 1],
  ["POST", "http://proxy:1/v1/traces", 0],
  ["PURGE", "/any", 2],
])("%s %s is route %i", (method, url, index) => {
  expect(find(method, url)).toBe(routes[index]);
});

test("other paths and methods are refused, with what is there", () => {
  expect(find("GET", "/v1/metrics")).toEqual({
    httpStatus: 404,
    reason: "not_found",
    message: "no such path: only /v1/traces, /any is served here",
    headers: {},
  });
  expect(find("PUT", "/v1/traces")).toEqual({
    httpStatus: 405,
    reason: "method_not_allowed",
    message: "/v1/traces takes POST, GET, HEAD, not PUT",
    headers: { Allow: "POST, GET, HEAD, OPTIONS" },
  });
  expect(find("OPTIONS", "/v1/traces")).toMatchObject({ httpStatus: 204 });
  expect(find("OPTIONS", "/other")).toMatchObject({ httpStatus: 404 });
});
