/** Records in quarantine, seen from outside: reported everywhere, and put back once. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { find, makeTrace, metric, requestOf, spanIdsOf } from "#integration/parts/spans.ts";
import { runSpoor, startSpoorProcess } from "#integration/parts/spoor.ts";
import { readStored } from "#integration/parts/stored.ts";

/** This test does not depend on the machine's free disk space. */
const config = "span_log: {free_bytes_min: 1MiB}\nquerier: {threads: 1}\n";

it(
  "what is in quarantine is in queries, page, metrics, exit code; a retry puts it back once",
  { timeout: 120_000 },
  async () => {
    const dir = await mkdtemp(join(tmpdir(), "spoor-quarantine-"));
    try {
      const dataDir = join(dir, "data");
      const folder = join(dataDir, "quarantine", "single-tenant");
      await mkdir(folder, { recursive: true });
      const trace = makeTrace(3);
      const id = "0123456789abcdef".repeat(2);
      const name = `single-tenant/${id}-4-0-17.otlp`;
      await writeFile(join(folder, `${id}-4-0-17.otlp`), requestOf(trace));

      const first = await startSpoorProcess({ dataDir, config });
      await first.ready();
      const byId = await fetch(`${first.address}/api/v2/traces/${trace[0].traceId}`);
      expect(byId.status).toBe(200);
      expect(await byId.text()).toContain('"status":"PARTIAL"');
      expect((await fetch(`${first.address}/api/v2/traces/${"ab".repeat(16)}`)).status).toBe(404);
      const search = await fetch(`${first.address}/api/search?q=%7B%7D`);
      expect(search.headers.get("x-spoor-partial")).toContain("1 log records are in quarantine");
      const page = await (await fetch(`${first.address}/status`)).text();
      expect(page).toContain("1 records with 3 acknowledged spans are in no block");
      expect(await metric(first.address, "spoor_ingester_quarantine_spans")).toBe(3);
      const busy = await runSpoor(["quarantine", "retry", "--data-dir", dataDir]);
      expect(busy.code).toBe(1);
      expect(busy.stderr).toContain("stop spoor serve first");
      expect(await first.stop()).toBe(4);
      expect(first.log()).toContain("acknowledged spans are in quarantine");

      const listed = await runSpoor(["quarantine", "ls", "--data-dir", dataDir]);
      expect(listed.stdout).toContain(name);
      expect(listed.stdout).toContain("1 records, 3 spans in quarantine");
      const shown = await runSpoor(["quarantine", "show", name, "--data-dir", dataDir]);
      expect(shown.stdout).toContain(trace[2].spanId);
      const retried = await runSpoor(["quarantine", "retry", name, "--data-dir", dataDir]);
      expect(retried.stdout).toContain(`put back ${name}: 3 spans`);

      const second = await startSpoorProcess({ dataDir, config });
      await second.ready();
      expect((await find(second.address, trace[0].traceId)).spanIds).toEqual(spanIdsOf(trace));
      expect(await second.stop()).toBe(0);
      const { counts } = await readStored(dataDir);
      expect([...counts.values()]).toEqual([1, 1, 1]);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  },
);
