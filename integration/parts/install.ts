/**
 * Gets the real parts that cannot come from npm, in pinned versions, into a cache folder that
 * clones share: `${XDG_CACHE_HOME:-~/.cache}/spoor/real-parts/<name>-<version>`. A part that is
 * there is not built again. Fails with what to do where a tool is missing.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { access, mkdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { lock } from "proper-lockfile";

export interface GoProgram {
  /** Name of the binary that `go install` makes. */
  name: string;
  module: string;
  version: string;
}

/** Building MinIO takes a few minutes on two cores. */
const buildTimeoutMs = 20 * 60_000;
const lockRetries = { retries: 1200, factor: 1, minTimeout: 1000, maxTimeout: 1000 };
const outputCharsMax = 20_000;

/** Path of the program's binary, which is built if it is not in the cache yet. */
export async function installGoProgram(program: GoProgram): Promise<string> {
  const { name, module, version } = program;
  const install = async (dir: string): Promise<void> => {
    const env = { GOBIN: dir, CGO_ENABLED: "0", GOFLAGS: "-trimpath -modcacherw" };
    const args = ["install", "-ldflags=-s -w", `${module}@${version}`];
    await run("go", args, { env, missing: goIsMissing(name) });
  };
  return join(await installOnce(`${name}-${version}`, install), name);
}

/**
 * The folder of a part. `install` fills an empty folder, which gets its name when it is whole, so
 * that an interrupted install leaves nothing that looks like one.
 */
export async function installOnce(
  name: string,
  install: (dir: string) => Promise<void>,
): Promise<string> {
  const cacheDir = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "spoor");
  const partsDir = join(cacheDir, "real-parts");
  const dir = join(partsDir, name);
  if (await isThere(dir)) return dir;
  await mkdir(partsDir, { recursive: true });
  // One builds, the others wait for it.
  const unlock = await lock(dir, { realpath: false, retries: lockRetries });
  try {
    if (await isThere(dir)) return dir;
    const unfinished = join(partsDir, `.tmp-${randomUUID()}`);
    try {
      await mkdir(unfinished);
      await install(unfinished);
      await rename(unfinished, dir);
    } finally {
      await rm(unfinished, { recursive: true, force: true });
    }
    return dir;
  } finally {
    await unlock();
  }
}

export interface RunOptions {
  env?: Readonly<Record<string, string>>;
  /** What to tell a user who does not have the program. */
  missing: string;
}

/** Runs a program to its end and returns what it printed. Throws with its output if it fails. */
export async function run(
  program: string,
  args: readonly string[],
  { env = {}, missing }: RunOptions,
): Promise<string> {
  const child = spawn(program, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: buildTimeoutMs,
    killSignal: "SIGKILL",
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      output = (output + chunk).slice(-outputCharsMax);
    });
  }
  const code = await new Promise<number>((resolve, reject) => {
    child.once("error", (error: NodeJS.ErrnoException) => {
      reject(error.code === "ENOENT" ? new Error(missing) : error);
    });
    child.once("close", (exitCode) => resolve(exitCode ?? -1));
  });
  if (code === 0) return output;
  throw new Error(`${program} ${args.join(" ")} ended with ${code}: ${output}`);
}

function goIsMissing(name: string): string {
  return (
    `npm run test:real builds ${name} from source and needs Go 1.26 or newer, which is not on ` +
    "the PATH: install it from https://go.dev/dl (or the package golang of your system) and " +
    "run again; npm test needs none of it"
  );
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
