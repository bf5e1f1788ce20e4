/** The code of another commit, ready to run beside this one. */
import { readFile, symlink } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runTool } from "#integration/parts/run-tool.ts";

const ownDir: string = fileURLToPath(new URL("../..", import.meta.url));

/**
 * Puts the files of a commit into an empty folder; its packages are ours, or its own where its lock
 * file differs. Returns its short hash. Rejects if there is no such commit.
 */
export async function checkOutVersion(ref: string, dir: string): Promise<string> {
  const archive = join(dir, "code.tar");
  await runTool("git", ["archive", "--output", archive, ref], { cwd: ownDir });
  await runTool("tar", ["--extract", "--file", archive, "--directory", dir]);
  const lockOf = async (root: string): Promise<string> =>
    await readFile(join(root, "package-lock.json"), "utf8");
  if ((await lockOf(dir)) === (await lockOf(ownDir))) {
    await symlink(join(ownDir, "node_modules"), join(dir, "node_modules"));
  } else {
    await runTool("npm", ["ci"], { cwd: dir });
  }
  return await versionOf(ref);
}

/** Short hash of a commit. */
export async function versionOf(ref: string): Promise<string> {
  return await runTool("git", ["rev-parse", "--short", ref], { cwd: ownDir });
}
