/** One tenant's damaged table, seen from outside: the process starts, and the others are served. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import {
  asTenant,
  eventually,
  find,
  makeTrace,
  post,
  requestOf,
  send,
  spanIdsOf,
} from "#integration/parts/spans.ts";
import { startSpoorProcess } from "#integration/parts/spoor.ts";

const config = "server: {multitenancy: true}\nspan_log: {free_bytes_min: 1MiB}\n";

it(
  "a commit that is not JSON: its tenant is refused with the reason, the others go on",
  { timeout: 120_000 },
  async () => {
    const dir = await mkdtemp(join(tmpdir(), "spoor-failing-"));
    try {
      const dataDir = join(dir, "data");
      await mkdir(dataDir);
      const traces = { a: makeTrace(2), b: makeTrace(2) };
      const first = await startSpoorProcess({ dataDir, config });
      await first.ready();
      await send(first.otlpHttp, traces.a, "a");
      await send(first.otlpHttp, traces.b, "b");
      expect(await first.stop()).toBe(0);
      const commit = join(dataDir, "bucket", "a", "_delta_log", `${"0".repeat(20)}.json`);
      const whole = await readFile(commit);
      await writeFile(commit, "this is no JSON\n");

      const second = await startSpoorProcess({ dataDir, config });
      await second.ready();
      expect((await find(second.address, traces.b[0].traceId, "b")).spanIds).toEqual(
        spanIdsOf(traces.b),
      );
      await send(second.otlpHttp, makeTrace(1), "b");
      const refused = await post(second.otlpHttp, requestOf(makeTrace(1)), asTenant("a"));
      expect(refused.status).toBe(503);
      expect(refused.body.toString()).toContain("it is not JSON");
      const url = `${second.address}/api/v2/traces/${traces.a[0].traceId}`;
      const answer = await fetch(url, { headers: asTenant("a") });
      expect(await answer.text()).toContain("it is not JSON");
      // A tenant sees its own trouble, and nobody else's.
      const pageOf = async (tenant: string): Promise<string> => {
        return await (
          await fetch(`${second.address}/status`, { headers: asTenant(tenant) })
        ).text();
      };
      expect(await pageOf("a")).toContain("Tenants that are not served");
      expect(await pageOf("b")).not.toContain("not served");

      await writeFile(commit, whole);
      await eventually(async () => {
        const { status } = await post(second.otlpHttp, requestOf(makeTrace(1)), asTenant("a"));
        return status === 200;
      });
      // The log is read again.
      await second.ready();
      expect((await find(second.address, traces.a[0].traceId, "a")).spanIds).toEqual(
        spanIdsOf(traces.a),
      );
      expect(await second.stop()).toBe(0);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  },
);
