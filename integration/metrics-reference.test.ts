import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { allMetrics, metricsPage } from "./metrics-reference.ts";

test("deploy/metrics-reference.md is what the metrics say", async () => {
  const page = readFileSync("deploy/metrics-reference.md", "utf8");
  const remedy = "npm run -s metrics-reference > deploy/metrics-reference.md";
  expect(page === (await metricsPage()), remedy).toBe(true);
});

test("every metric has a help text, and a name that says whose it is", async () => {
  const { serve, verify } = await allMetrics();
  const all = [...serve, ...verify];
  expect(all.length).toBeGreaterThan(80);
  // Node's own come from prom-client.
  const own = all.filter(({ name }) => !/^spoor_(process|nodejs)_/.test(name));
  expect(own.length).toBeGreaterThan(70);
  expect(own.filter(({ help }) => help.length < 10 || !/^[A-Z0-9]/.test(help))).toEqual([]);
  expect(own.filter(({ name }) => !/^spoor_[a-z0-9_]+$/.test(name))).toEqual([]);
  const misnamed = own.filter(({ name, type }) => type === "counter" && !name.endsWith("_total"));
  expect(misnamed).toEqual([]);
});
