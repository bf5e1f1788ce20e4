/**
 * The container image, built by buildah from the Dockerfile and run without a daemon.
 *
 * Public images are not asked for: the base is a minimal Debian (debootstrap, kept in the cache of
 * real parts) with this run's Node, npm and trusted certificates. Containers run with chroot
 * isolation: their own files and user, the machine's network.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, realpath, rename, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runTool, type ToolResult, tryTool } from "./run-tool.ts";

const root: string = fileURLToPath(new URL("../../", import.meta.url));
const release = "bookworm";
const baseName = "localhost/spoor-base";
const imageName = "localhost/spoor";
const certificates = "/etc/ssl/certs/ca-certificates.crt";
const logCharsMax = 1024 * 1024;

export interface ImageConfig {
  User: string;
  Entrypoint: string[];
  Cmd: string[];
  Healthcheck: { Test: string[] };
  Volumes: Record<string, object>;
}

export interface RunOptions {
  /** `uid:gid`. */
  user: string;
  /** Folder of this machine that is /data in the container. */
  dataDir: string;
}

/** A process in a container. */
export interface Running {
  output(): string;
  /** Resolves to the exit code. */
  readonly exited: Promise<number>;
  /** Sends a signal to the container's first process. */
  signal(name: NodeJS.Signals): void;
}

export class Image {
  readonly config: ImageConfig;
  readonly #dir: string;
  readonly #container: string;

  constructor(dir: string, container: string, config: ImageConfig) {
    this.#dir = dir;
    this.#container = container;
    this.config = config;
  }

  /** Runs a command to its end. */
  async run(command: readonly string[], options?: RunOptions): Promise<ToolResult> {
    return await tryTool("buildah", this.#runArgs(command, options));
  }

  /** Starts a command. */
  start(command: readonly string[], options: RunOptions): Running {
    const args = this.#runArgs(command, options);
    const child = spawn("buildah", args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        if (output.length < logCharsMax) output += chunk;
      });
    }
    return {
      output: () => output,
      exited: once(child, "close").then(() => child.exitCode ?? -1),
      signal: (name) => process.kill(firstProcess(child, command), name),
    };
  }

  async remove(): Promise<void> {
    await tryTool("buildah", storeArgs(this.#dir, ["rm", this.#container]));
    await rm(this.#dir, { recursive: true, force: true });
  }

  #runArgs(command: readonly string[], options?: RunOptions): string[] {
    const args = ["run", "--isolation", "chroot"];
    if (options !== undefined) {
      args.push("--user", options.user, "--volume", `${options.dataDir}:/data`);
    }
    return storeArgs(this.#dir, [...args, this.#container, "--", ...command]);
  }
}

/** Builds the image of the working tree and makes a container of it. */
export async function buildImage(): Promise<Image> {
  await installTools();
  const base = await debianTar();
  const dir = await mkdtemp(join(tmpdir(), "spoor-image-"));
  const buildah = (...args: string[]): Promise<string> =>
    runTool("buildah", storeArgs(dir, args), { cwd: root });
  try {
    await makeBase(base, buildah);
    const npmCache = await runTool("npm", ["config", "get", "cache"], { cwd: root });
    await mkdir(npmCache, { recursive: true });
    const args = ["--isolation", "chroot", "--format", "docker", "--tag", imageName];
    args.push("--build-arg", `BASE=${baseName}`, "--volume", `${npmCache}:/root/.npm`);
    await buildah("bud", ...args, ".");
    const inspected = JSON.parse(await buildah("inspect", "--type", "image", imageName)) as {
      Docker: { config: ImageConfig };
    };
    const container = await buildah("from", imageName);
    return new Image(dir, container, inspected.Docker.config);
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw error;
  }
}

async function makeBase(
  tar: string,
  buildah: (...args: string[]) => Promise<string>,
): Promise<void> {
  const container = await buildah("from", "scratch");
  await buildah("add", "--quiet", container, tar, "/");
  await buildah("copy", "--quiet", container, process.execPath, "/usr/local/bin/node");
  // `npm` is a link to npm/bin/npm-cli.js.
  const npm = dirname(dirname(await realpath(await runTool("which", ["npm"]))));
  await buildah("copy", "--quiet", container, npm, "/usr/local/lib/node_modules/npm");
  const link = ["../lib/node_modules/npm/bin/npm-cli.js", "/usr/local/bin/npm"];
  await buildah("run", "--isolation", "chroot", container, "--", "ln", "-s", ...link);
  if (existsSync(certificates)) {
    await buildah("copy", "--quiet", container, certificates, certificates);
    await buildah("config", "--env", `NODE_EXTRA_CA_CERTS=${certificates}`, container);
  }
  await buildah("commit", "--quiet", container, baseName);
  await buildah("rm", container);
}

function storeArgs(dir: string, args: readonly string[]): string[] {
  const places = ["--root", join(dir, "store"), "--runroot", join(dir, "run")];
  return ["--storage-driver", "vfs", ...places, ...args];
}

async function installTools(): Promise<void> {
  const missing: string[] = [];
  for (const name of ["buildah", "debootstrap"]) {
    const { code } = await tryTool("which", [name]);
    if (code !== 0) missing.push(name);
  }
  if (missing.length === 0) return;
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  await runTool("apt-get", ["update"], { env });
  await runTool("apt-get", ["install", "-y", "--no-install-recommends", ...missing], { env });
}

/** A minimal Debian as a tar file; made once. */
async function debianTar(): Promise<string> {
  const caches = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  const folder = join(caches, "spoor", "real-parts");
  const path = join(folder, `debian-${release}.tar`);
  if (existsSync(path)) return path;
  await mkdir(folder, { recursive: true });
  const dir = await mkdtemp(join(tmpdir(), "spoor-debian-"));
  try {
    const files = join(dir, "files");
    await runTool("debootstrap", ["--variant=minbase", release, files]);
    await runTool("tar", ["-C", files, "--exclude=./dev/*", "-cf", `${path}.part`, "."]);
    await rename(`${path}.part`, path);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  return path;
}

/** The process id of the command that `buildah run` has started. */
function firstProcess(buildah: ChildProcess, command: readonly string[]): number {
  // The program's own name is its whole path by then; what runs it for us is buildah's.
  const wanted = `\0${command.slice(1).join("\0")}\0`;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const pid = Number(name);
    const line = commandLine(pid);
    const isIt = line.endsWith(wanted) && !line.startsWith("buildah");
    if (isIt && isBelow(pid, buildah.pid!)) return pid;
  }
  throw new Error(`no process of ${command.join(" ")} runs`);
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    // It has ended meanwhile.
    return "";
  }
}

function isBelow(pid: number, ancestor: number): boolean {
  for (let at = pid; at > 1;) {
    if (at === ancestor) return true;
    let stat: string;
    try {
      stat = readFileSync(`/proc/${at}/stat`, "latin1");
    } catch {
      return false;
    }
    at = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  }
  return false;
}
