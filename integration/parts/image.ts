/**
 * The container image, built from the Dockerfile by buildah and run without a daemon.
 *
 * No public image is pulled: the base is a minimal Debian (debootstrap, cached with the real parts)
 * with Node, npm and the trusted certificates of this machine. Containers have their own files and
 * user, and use the machine's network.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
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
  /** `NAME=value`. */
  Env: string[];
  WorkingDir: string;
  Entrypoint: string[];
  Cmd: string[];
  Healthcheck: { Test: string[] };
  Volumes: Record<string, object>;
}

export interface RunOptions {
  /** `uid:gid`. */
  user: string;
  /** Folder of this machine that is mounted as /data. */
  dataDir: string;
}

/** A process in a container. */
export interface Running {
  output(): string;
  /** Resolves to the exit code. */
  readonly exited: Promise<number>;
  /** Sends a signal to the process. */
  signal(name: NodeJS.Signals): void;
}

interface ImageParts {
  config: ImageConfig;
  files: string;
}

/** Shell script; arguments: the root file system, the folder for /data, the user, the command. */
const readOnlyRoot: string = [
  'mount --bind "$1" "$1"',
  'for dir in dev proc; do mount --rbind "/$dir" "$1/$dir"; done',
  'mount --bind "$2" "$1/data"',
  'mount -o remount,bind,ro "$1"',
  'root=$1; user=$3; shift 3; exec chroot --userspec="$user" "$root" "$@"',
].join(" && ");

export class Image {
  readonly config: ImageConfig;
  readonly #dir: string;
  readonly #container: string;
  /** The container's root file system on this machine. */
  readonly #files: string;

  constructor(dir: string, container: string, { config, files }: ImageParts) {
    this.#dir = dir;
    this.#container = container;
    this.#files = files;
    this.config = config;
  }

  /** Runs a command until it exits. */
  async run(command: readonly string[], options?: RunOptions): Promise<ToolResult> {
    return await tryTool("buildah", this.#runArgs(command, options));
  }

  /**
   * Starts a command on a root file system that is read-only except for /data, like `docker run
   * --read-only`.
   */
  start(command: readonly string[], { user, dataDir }: RunOptions): Running {
    const { Env, WorkingDir } = this.config;
    const inside = ["env", "--chdir", WorkingDir || "/", ...command];
    const args = ["--mount", "sh", "-c", readOnlyRoot, "sh", this.#files, dataDir, user];
    const child = spawn("unshare", [...args, ...inside], {
      stdio: ["ignore", "pipe", "pipe"],
      env: Object.fromEntries(Env.map((pair) => pair.split(/=(.*)/su, 2))),
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        if (output.length < logCharsMax) output += chunk;
      });
    }
    return {
      output: () => output,
      exited: once(child, "close").then(() => child.exitCode ?? -1),
      signal: (name) => void child.kill(name),
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

/** Builds the image of the working tree and creates a container. */
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
    const files = await buildah("mount", container);
    return new Image(dir, container, { config: inspected.Docker.config, files });
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
  const folders = ["--root", join(dir, "store"), "--runroot", join(dir, "run")];
  return ["--storage-driver", "vfs", ...folders, ...args];
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

/** Returns the path of a tar file with a minimal Debian; created once. */
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
