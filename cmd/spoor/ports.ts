/** Errors of ports that are taken: which flag chooses another one, and who has this one. */
import { readdir, readFile, readlink } from "node:fs/promises";
import { SpoorError } from "#pkg/errors/errors.ts";

export interface PortFlag {
  flag: string;
  port: number;
}

/** Runs what listens; if a port is taken the error names its flag and its holder. */
export async function listening<T>(
  flags: readonly PortFlag[],
  listen: () => Promise<T>,
): Promise<T> {
  try {
    return await listen();
  } catch (cause) {
    const taken = takenPort(cause);
    if (taken === undefined) throw cause;
    const holder = await portHolder(taken);
    const by = holder === undefined ? "" : ` by ${holder}`;
    const flag = flags.find(({ port }) => port === taken)?.flag ?? "another port";
    const message = `port ${taken} is taken${by}: stop that, or choose another one with ${flag}`;
    throw new SpoorError("Unavailable", message, { cause, reason: "port_taken" });
  }
}

/** The port of an EADDRINUSE, or of one that caused an error. */
function takenPort(thrown: unknown): number | undefined {
  for (let error = thrown, depth = 0; error instanceof Error && depth < 4; depth++) {
    if ("code" in error && error.code === "EADDRINUSE" && "port" in error) {
      return Number(error.port);
    }
    error = error.cause;
  }
  return undefined;
}

const stateListening = "0A";

/**
 * Name and pid of the process that listens on a TCP port, from Linux's /proc; undefined where there
 * is none, or where it is another user's.
 */
async function portHolder(port: number): Promise<string | undefined> {
  try {
    const inodes = await listeningInodes(port);
    for (const pid of await readdir("/proc")) {
      if (!/^\d+$/.test(pid) || !(await hasSocket(pid, inodes))) continue;
      const name = (await readFile(`/proc/${pid}/comm`, "utf8")).trim();
      return `${name} (pid ${pid})`;
    }
  } catch {
    // No /proc: the message goes without the holder.
  }
  return undefined;
}

async function listeningInodes(port: number): Promise<Set<string>> {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const inodes = new Set<string>();
  for (const file of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    const lines = (await readFile(file, "utf8").catch(noSuchFile)).split("\n");
    for (const line of lines) {
      const fields = line.trim().split(/\s+/);
      const [, local = "", , state] = fields;
      if (local.endsWith(suffix) && state === stateListening) inodes.add(fields[9]);
    }
  }
  return inodes;
}

async function hasSocket(pid: string, inodes: ReadonlySet<string>): Promise<boolean> {
  const names = await readdir(`/proc/${pid}/fd`).catch(notOurs);
  for (const name of names) {
    const target = await readlink(`/proc/${pid}/fd/${name}`).catch(noSuchFile);
    if (inodes.has(/^socket:\[(\d+)\]$/.exec(target)?.[1] ?? "")) return true;
  }
  return false;
}

/** A machine without IPv6, or a descriptor that was closed meanwhile. */
function noSuchFile(): string {
  return "";
}

/** A process of another user, or one that has ended. */
function notOurs(): string[] {
  return [];
}
