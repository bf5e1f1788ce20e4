import { expect, test } from "vitest";
import { pathOfTarget } from "./request-target.ts";

test.each([
  ["/v1/traces", "/v1/traces"],
  ["/v1/traces?x=/a//b", "/v1/traces"],
  ["//v1//traces", "/v1/traces"],
  ["http://proxy.example:4318/v1/traces?x=1", "/v1/traces"],
  ["HTTP://proxy.example//v1/traces#top", "/v1/traces"],
  ["http://proxy.example", "/"],
  ["/a/http://b/c", "/a/http:/b/c"],
  ["*", "*"],
  ["", ""],
])("the path of %j is %j", (target, path) => {
  expect(pathOfTarget(target)).toBe(path);
});
