import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { runCli } from "#cmd/spoor/cli.ts";
import { recordIo, type RecordedIo } from "#cmd/spoor/spoor.testing.ts";

/** Runs a command against a server with one answer; the endpoint is given without `http://`. */
async function runAgainst(
  body: unknown,
  args: string[],
): Promise<{ code: number; io: RecordedIo; url: string }> {
  let url = "";
  const server = createServer((request, response) => {
    url = request.url ?? "";
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const io = recordIo();
    const { port } = server.address() as AddressInfo;
    const code = await runCli([...args, "--endpoint", `127.0.0.1:${String(port)}`], io);
    return { code, io, url };
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const values = {
  tagValues: [
    { type: "string", value: "shop" },
    { type: "string", value: "a\nb" },
  ],
};

test("services and values are printed one per line, safe for a terminal", async () => {
  const services = await runAgainst(values, ["services", "--query", "{ status = error }"]);
  expect([services.code, services.io.stdout]).toEqual([0, "shop\na\\u{a}b\n"]);
  expect(services.url).toBe(
    "/api/v2/search/tag/resource.service.name/values?q=%7B+status+%3D+error+%7D",
  );
  const named = await runAgainst(values, ["values", "span.a/b", "--limit", "5"]);
  expect(named.url).toBe("/api/v2/search/tag/span.a%2Fb/values?counts=true&limit=5");
  // Tempo counts nothing.
  expect(named.io.stdout).toBe("shop\na\\u{a}b\n");
});

test("values stand behind the number of their spans", async () => {
  const counted = {
    tagValues: [
      { type: "string", value: "GET", count: 1702 },
      { type: "string", value: "PUT", count: 62 },
    ],
  };
  const { io } = await runAgainst(counted, ["values", "span.http.request.method"]);
  expect(io.stdout).toBe("1702  GET\n  62  PUT\n");
});

test("tags have their scope; nothing is said to be nothing; JSON comes as it is", async () => {
  const answer = {
    scopes: [
      { name: "span", tags: ["http.method"] },
      { name: "intrinsic", tags: ["duration"] },
    ],
  };
  const tags = await runAgainst(answer, ["tags"]);
  expect(tags.io.stdout).toBe("span.http.method\nduration\n");
  const none = await runAgainst({ scopes: [] }, ["tags", "--scope", "link"]);
  expect([none.io.stdout, none.io.stderr]).toEqual(["", "nothing found in the range\n"]);
  const json = await runAgainst(values, ["services", "--json"]);
  expect(JSON.parse(json.io.stdout)).toEqual(values);
});

test.each([
  [["values"], "the name is missing"],
  [["values", "a", "b"], 'unexpected argument "b"'],
  [["services", "--limit", "0"], '--limit "0" is not a number'],
  [["tags", "--since", "1h", "--end", "5"], "--since cannot be combined"],
])("%j is a usage error", async (args, text) => {
  const { code, io } = await runAgainst(values, args);
  expect([code, io.stderr]).toEqual([2, expect.stringContaining(text)]);
});
