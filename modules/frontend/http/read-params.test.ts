import { expect, it } from "vitest";
import { RegexCache } from "#pkg/traceql/regex.ts";
import { filled } from "./http.testing.ts";
import { type ParamsJob, ParamsReader, parseParams } from "./read-params.ts";

const never = new AbortController().signal;
const bounds = { nowMs: 1e12, limitMax: 100, spansPerTraceMax: 100 };

function search(q: string): Extract<ParamsJob, { kind: "search" }> {
  return { kind: "search", params: new URLSearchParams({ q }).toString(), bounds };
}

it("costly patterns and long texts are read on a thread, others in place", async () => {
  const handed: string[] = [];
  const reader = new ParamsReader(async (job) => {
    handed.push(job.params);
    return parseParams(job, new RegexCache());
  });
  const costly = search(`{ name =~ "(?i)${"\\\\pL".repeat(20)}" }`);
  const long = search(`{ name = "${"x".repeat(5000)}" }`);
  const tags: ParamsJob = { kind: "tags", params: costly.params, nowMs: 1e12 };
  for (const job of [search('{ name =~ "a.*b" }'), search('{ name =~ "a|b" }')]) {
    await reader.read(job, never);
  }
  expect(handed).toEqual([]);
  expect(await reader.read(costly, never)).toEqual(parseParams(costly, new RegexCache()));
  expect(await reader.read(long, never)).toEqual(parseParams(long, new RegexCache()));
  expect(await reader.read(tags, never)).toEqual(parseParams(tags, new RegexCache()));
  expect(handed).toEqual([costly.params, long.params, tags.params]);
});

it("what a thread finds wrong is said as if it had been read in place", async () => {
  await using rig = await filled();
  const ask = async (q: string): Promise<[number, string]> => {
    const { status, text } = await rig.ask(`/api/search?${new URLSearchParams({ q }).toString()}`);
    return [status, text];
  };
  const costly = `(?i)${"\\\\pL".repeat(20)}`;
  expect((await ask(`{ name =~ "${costly}" }`))[0]).toBe(200);
  const [status, text] = await ask(`{ name =~ "${costly}(" }`);
  expect(status).toBe(400);
  expect(text).toMatch(/^invalid TraceQL query: parse error at line 1, col 11: compile a regular/);
});

it("long alternations and chains are answered as sets", async () => {
  await using rig = await filled();
  const names = Array.from({ length: 1500 }, (_, i) => `service-${i}`);
  for (const q of [
    `{ name =~ "${names.join("|")}|GET /" }`,
    `{ ${names.map((name) => `name = "${name}"`).join(" || ")} || name = "GET /" }`,
  ]) {
    const { status, text } = await rig.ask(`/api/search?${new URLSearchParams({ q }).toString()}`);
    expect(status).toBe(200);
    expect((JSON.parse(text) as { traces: unknown[] }).traces.length).toBe(1);
  }
});
