/** A sample of `npm run test:long`: ten seconds of twice the server's limit. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { overloadProblems } from "./overload-problems.ts";
import { runOverload } from "./soak.ts";

it("at twice its limit the server pushes back, stays bounded, loses nothing, recovers", async () => {
  const dir = await mkdtemp(join(tmpdir(), "spoor-overload-"));
  try {
    const overload = await runOverload(
      dir,
      10_000,
      (line) => void process.stdout.write(`${line}\n`),
    );
    expect(await overloadProblems(overload)).toEqual([]);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
