/** Explains errors of taken ports: the flag for another port, and the process that has this one. */
import { readdir, readFile, readlink } from "node:fs/promises";
import { SpoorError } from "#pkg/errors/errors.ts";

export interface PortFlag {
  flag: string;
  port: number;
}

/** Runs `listen`. If a port is taken, throws Unavailable with its flag and its holder. */
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

/** Returns the port of an EADDRINUSE error among an error and its causes. */
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
 * Returns name and pid of the process that listens on a TCP port, from Linux's /proc; undefined
 * without /proc, or if the process belongs to another user.
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
    // Without /proc, the message does not name the holder.
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

/** The machine has no IPv6, or the descriptor was closed meanwhile. */
function noSuchFile(): string {
  return "";
}

/** The process belongs to another user, or has ended. */
function notOurs(): string[] {
  return [];
}
