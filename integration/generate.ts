/**
 * `npm run generate`: generates TypeScript from the schemas in pkg/pb, with buf and protoc-gen-es
 * of node_modules. Needs no network. `npm run check` generates it again and compares.
 */
import { execFile } from "node:child_process";
import { cp, glob, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root: string = fileURLToPath(new URL("..", import.meta.url));
const toolFolder: string = join(root, "node_modules", ".bin");
const schemas = "pkg/pb";
const generatedPattern = "**/*_pb.ts";
const run = promisify(execFile);

/** Generates code from the schemas in `from` into the folder `to`. Rejects with buf's error. */
async function generate(from: string, to: string): Promise<void> {
  const template = join(root, schemas, "buf.gen.yaml");
  const path = `${toolFolder}${delimiter}${process.env.PATH ?? ""}`;
  const args = ["generate", from, "--template", template, "--output", to];
  await run(join(toolFolder, "buf"), args, { cwd: root, env: { ...process.env, PATH: path } });
}

/** Calls `use` with a folder of freshly generated code, which is removed afterwards. */
async function withFresh<T>(from: string, use: (fresh: string) => Promise<T>): Promise<T> {
  const fresh = await mkdtemp(join(tmpdir(), "spoor-generate-"));
  try {
    await generate(from, fresh);
    return await use(fresh);
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

/** Returns the sorted paths of generated files, relative to the folder. */
async function generatedIn(folder: string): Promise<string[]> {
  return (await Array.fromAsync(glob(generatedPattern, { cwd: folder }))).toSorted();
}

/** Returns generated files below `folder` that are stale or have no schema. */
export async function staleFiles(folder: string = join(root, schemas)): Promise<string[]> {
  return await withFresh(folder, async (fresh) => {
    const names = new Set([...(await generatedIn(folder)), ...(await generatedIn(fresh))]);
    const textOf = (path: string): Promise<string> => readFile(path, "utf8").catch(() => "");
    const stale: string[] = [];
    for (const name of names) {
      const [is, should] = await Promise.all([
        textOf(join(folder, name)),
        textOf(join(fresh, name)),
      ]);
      if (is !== should) stale.push(name);
    }
    return stale;
  });
}

if (import.meta.main) {
  const folder = join(root, schemas);
  await withFresh(folder, async (fresh) => {
    for (const name of await generatedIn(folder)) await rm(join(folder, name));
    await cp(fresh, folder, { recursive: true });
  });
  process.stdout.write(`${(await generatedIn(folder)).join("\n")}\n`);
}
