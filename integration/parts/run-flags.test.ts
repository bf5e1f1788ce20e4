import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, it } from "vitest";

const folder: string = fileURLToPath(new URL("..", import.meta.url));

interface Run {
  code: number;
  stdout: string;
  stderr: string;
}

async function run(script: string, ...args: string[]): Promise<Run> {
  return await new Promise((resolve) => {
    const child = execFile(process.execPath, [join(folder, script), ...args], (_, out, err) =>
      resolve({ code: child.exitCode ?? -1, stdout: out, stderr: err }),
    );
  });
}

describe.concurrent("npm run crash", () => {
  it("prints its help", async ({ expect: expectHere }) => {
    const { code, stdout, stderr } = await run("crash/run.ts", "--help");
    expectHere(stdout).toMatch(/^npm run crash -- /);
    expectHere([code, stderr]).toEqual([0, ""]);
  });

  it.for([
    ["--rond", "3"],
    ["--case", "other"],
  ])("says what is wrong with %s %s, without a stack", async (args, { expect: expectHere }) => {
    const { code, stdout, stderr } = await run("crash/run.ts", ...args);
    expectHere([code, stdout]).toEqual([2, ""]);
    expectHere(stderr).toContain(args[0]);
    expectHere(stderr).not.toMatch(/\n\s+at /);
  });
});
