import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tableColumns } from "#pkg/block/block-file.ts";
import { commitOf, cutTraces, sampleTraces } from "#pkg/block/block.testing.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { openFsStore } from "#pkg/objstore/fs/fs.ts";
import { openTable } from "#pkg/table/delta-table.ts";
import { runCli } from "#cmd/spoor/cli.ts";
import { recordIo } from "#cmd/spoor/spoor.testing.ts";

const block = cutTraces(sampleTraces(), { rowGroupSpans: 8 });
let dataDir = "";
let file = "";
let damagedFile = "";

/** Two tenants, each with a sound block; tenant b also has a damaged one and one that is gone. */
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "spoor-block-"));
  const store = await openFsStore(join(dataDir, "bucket"));
  const damaged = Uint8Array.from(block.bytes);
  damaged[block.indexOffset - 5] ^= 1;
  const put = async (tenant: string, ulid: string, bytes: Uint8Array | undefined) => {
    const own = commitOf(block);
    const path = own.path.replace(/[^/]+\.parquet/, `${ulid}.parquet`);
    if (bytes !== undefined) await store.put(`${tenant}/${path}`, bytes);
    await openTable({ store, tenant, clock: systemClock, log: openLog("silent") }).commit({
      add: [{ ...own, path }],
      columns: tableColumns(block.columns),
      operation: "WRITE",
      dataChange: true,
    });
  };
  await put("a", "01JDB00000000000000000000A", block.bytes);
  await put("b", "01JDB00000000000000000000B", block.bytes);
  await put("b", "01JDB00000000000000000000C", damaged);
  await put("b", "01JDB00000000000000000000D", undefined);
  file = join(dataDir, "plain.parquet");
  damagedFile = join(dataDir, "damaged.parquet");
  await writeFile(file, block.bytes);
  await writeFile(damagedFile, damaged);
});

afterAll(async () => {
  await rm(dataDir, { recursive: true, force: true });
});

async function run(
  ...args: string[]
): Promise<{ code: number; out: string; err: string; json: () => unknown[] }> {
  const io = recordIo();
  const code = await runCli(["block", ...args, "--data-dir", dataDir], io);
  const json = (): unknown[] =>
    io.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown);
  return { code, out: io.stdout, err: io.stderr, json };
}

const keyOf = (tenant: string, ulid: string): string =>
  `${tenant}/${commitOf(block).path.replace(/[^/]+\.parquet/, `${ulid}.parquet`)}`;

describe("spoor block ls", () => {
  it("lists the blocks of all tenants", async () => {
    const { code, out } = await run("ls");
    expect(code).toBe(0);
    expect(out).toContain(`tenant a: 1 blocks, 40 spans`);
    expect(out).toContain(`tenant b: 3 blocks, 120 spans`);
    expect(out).toContain("40 spans  10 traces  partition 0/1  5 row groups  2023-11-14T22:13:20");
  });

  it("lists those of one as JSON", async () => {
    const { code, json } = await run("ls", "--tenant", "b", "--json");
    expect(code).toBe(0);
    expect(json()).toHaveLength(3);
    expect(json()[0]).toMatchObject({
      block: keyOf("b", "01JDB00000000000000000000B"),
      sizeBytes: block.bytes.length,
      spans: 40,
      traces: 10,
      partition: "0/1",
      rowGroups: 5,
      minStart: "2023-11-14T22:13:20.000Z",
    });
  });

  it("says so if there is no such tenant, or no bucket, and makes none", async () => {
    expect(await run("ls", "--tenant", "nobody")).toMatchObject({ code: 1 });
    const io = recordIo();
    const missing = join(dataDir, "not-here");
    expect(await runCli(["block", "ls", "--data-dir", missing], io)).toBe(1);
    expect(io.stderr).toContain("there is no bucket in");
    await expect(stat(missing)).rejects.toThrow("ENOENT");
  });
});

describe("spoor block inspect", () => {
  it("shows what a file is made of", async () => {
    const { code, out } = await run("inspect", file);
    expect(code).toBe(0);
    expect(out).toContain("40 spans, 10 traces, partition 0/1");
    expect(out).toMatch(/^span\.http\.method +\d+ B .*RLE_DICTIONARY ZSTD$/m);
    expect(out).toMatch(/^span_id .*PLAIN/m);
    expect(out).toMatch(/^index section: trace bloom +\d+ B/m);
    expect(out).toMatch(/^span\.order +string +40 +40$/m);
  });

  it("accounts for every byte", async () => {
    const { json } = await run("inspect", keyOf("a", "01JDB00000000000000000000A"), "--json");
    const [described] = json() as {
      columns: { sizeBytes: number }[];
      parts: Record<string, number>;
      sizeBytes: number;
    }[];
    const { parts } = described;
    const columns = described.columns.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    expect(parts["columns"]).toBe(columns);
    const index = parts["index section: whole"];
    const rest = parts["offset indexes"] + index + parts["footer"];
    // The leading magic; the tail's length and magic.
    expect(4 + columns + rest).toBe(described.sizeBytes);
  });

  it("names what is wrong with a file that cannot be read", async () => {
    const short = join(dataDir, "short.parquet");
    await writeFile(short, (await readFile(file)).subarray(0, 2000));
    const { code, err } = await run("inspect", short);
    expect(code).toBe(1);
    expect(err).toContain("does not end with PAR1");
    expect((await run("inspect", "nowhere.parquet")).err).toContain("neither a file nor a key");
  });
});

describe("spoor block verify", () => {
  it("passes sound blocks: a file, a key, a tenant", async () => {
    expect(await run("verify", file)).toMatchObject({ code: 0 });
    const { code, out } = await run("verify", keyOf("a", "01JDB00000000000000000000A"));
    expect(code).toBe(0);
    expect(out).toContain("ok       a/blocks/");
    expect(await run("verify", "--tenant", "a")).toMatchObject({ code: 0 });
  });

  it("names the cause of what is damaged, and goes on", async () => {
    const { code, out } = await run("verify");
    expect(code).toBe(1);
    expect(out).toContain(`ok       ${keyOf("b", "01JDB00000000000000000000B")}`);
    expect(out).toContain(
      `damaged  ${keyOf("b", "01JDB00000000000000000000C")}\n  checksum: offset`,
    );
    expect(out).toContain(`damaged  ${keyOf("b", "01JDB00000000000000000000D")}\n  missing: file`);
    expect(out).toContain("4 blocks checked, 2 damaged");
  });

  it("prints JSON, one line per block", async () => {
    const { code, json } = await run("verify", file, damagedFile, "--json");
    expect(code).toBe(1);
    expect(json()).toEqual([
      { block: file, ok: true, findings: [] },
      {
        block: damagedFile,
        ok: false,
        findings: [expect.objectContaining({ cause: "checksum" })],
      },
    ]);
  });

  it("refuses a wrong command line", async () => {
    for (const args of [[], ["look"], ["inspect"], ["ls", "x"], ["verify", "x", "--tenant", "a"]]) {
      expect((await run(...args)).code).toBe(2);
    }
  });
});

describe("find", () => {
  it("names the blocks that hold a trace, and those it could not read", async () => {
    const [first] = sampleTraces().resourceSpans[0].scopeSpans[0].spans;
    const id = Buffer.from(first.traceId).toString("hex");
    const found = await run("find", id, "--tenant", "a");
    expect(found).toMatchObject({ code: 0, err: "" });
    expect(found.out).toMatch(/^a\/blocks\/.*A\.parquet {2}\d+ spans?\n$/);
    const all = await run("find", id, "--json");
    expect(all.code).toBe(1);
    expect(all.err).toMatch(/D\.parquet/);
    expect(all.json()).toContainEqual({
      block: expect.stringMatching(/A\.parquet$/),
      spans: expect.any(Number),
    });
    const none = await run("find", "ab".repeat(16), "--tenant", "a");
    expect([none.code, none.out]).toEqual([1, ""]);
    expect((await run("find", "xyz")).code).toBe(2);
  });
});
