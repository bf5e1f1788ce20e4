import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { staleFiles } from "./generate.ts";

const traces = "otlp/export_pb.ts";

test("a schema or generated file that was changed alone is found, and named", async () => {
  const folder = await mkdtemp(join(tmpdir(), "spoor-schemas-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await cp("pkg/pb", folder, { recursive: true });
  expect(await staleFiles(folder)).toEqual([]);
  const status = join(folder, "google/rpc/status.proto");
  const schema = await readFile(status, "utf8");
  await writeFile(status, schema.replace("int32 code = 1;", "int32 code = 9;"));
  await rm(join(folder, traces));
  await mkdir(join(folder, "old"));
  await writeFile(join(folder, "old/old_pb.ts"), "export const old = 1;\n");
  const stale = ["google/rpc/status_pb.ts", "old/old_pb.ts", traces];
  expect((await staleFiles(folder)).toSorted()).toEqual(stale);
});

test("a schema that does not compile is an error with its place", async () => {
  const folder = await mkdtemp(join(tmpdir(), "spoor-schemas-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await cp("pkg/pb", folder, { recursive: true });
  await writeFile(join(folder, "bad.proto"), 'syntax = "proto3";\nmessage {}\n');
  await expect(staleFiles(folder)).rejects.toThrow(/bad\.proto:2:\d+/);
});
