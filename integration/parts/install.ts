/**
 * Installs pinned versions of real servers and tools that are not on npm, into a cache folder that
 * all clones share: `${XDG_CACHE_HOME:-~/.cache}/spoor/real-parts/<name>-<version>`. A cached part
 * is not built again. If a tool is missing, the error says what to install.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { access, mkdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { lock } from "proper-lockfile";

export interface GoProgram {
  /** Name of the binary that `go install` builds. */
  name: string;
  module: string;
  version: string;
}

/** Building MinIO takes a few minutes on two cores. */
const buildTimeoutMs = 20 * 60_000;
const lockRetries = { retries: 1200, factor: 1, minTimeout: 1000, maxTimeout: 1000 };
const outputCharsMax = 20_000;

/** Returns the path of the program's binary; builds it if it is not cached. */
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
 * Returns the folder of a part. `install` fills an empty folder, which is renamed when it is
 * complete, so that an interrupted install leaves no partial part.
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
  // One process builds, the others wait.
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
  /** Error message if the program is missing. */
  missing: string;
}

/** Runs a program until it exits; returns its output. Throws with its output if it fails. */
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
