/**
 * Keeps a second process out of the data folder. The lock itself is `proper-lockfile`'s: a folder
 * whose time its owner refreshes, so it works on every file system and between containers; but
 * after `kill -9` it looks alive for some seconds. So that a crashed process can be restarted at
 * once, on Linux a process also binds an abstract socket named after the folder, which the kernel
 * frees when the process dies: whoever holds that socket and finds a lock made in the same network
 * namespace of the same boot knows that the lock's owner is dead, and nobody else can find that at
 * the same time.
 */
import { mkdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { lock } from "proper-lockfile";
import { SpoorError } from "#pkg/errors/errors.ts";

/** After so long without a sign of life a lock's owner counts as dead. */
const staleMs = 10_000;
const waitRounds = 24;
const waitMs = 500;

/** Locks the folder (made if missing). Throws Unavailable `data_dir_locked`. */
export async function lockDataFolder(
  dataDir: string,
  onLost: (error: SpoorError) => void,
): Promise<() => Promise<void>> {
  await mkdir(dataDir, { recursive: true });
  const socket = await bindSocket(dataDir);
  const lockfilePath = join(dataDir, "lock");
  const ownerPath = join(dataDir, "lock-owner");
  const identity = await namespaceIdentity();
  try {
    const owner = await readFile(ownerPath, "utf8").catch(ignoreMissing);
    if (socket !== undefined && identity !== undefined && owner === identity) {
      await rm(lockfilePath, { recursive: true, force: true });
    }
    const release = await lock(dataDir, {
      lockfilePath,
      stale: staleMs,
      retries: { retries: waitRounds, factor: 1, minTimeout: waitMs, maxTimeout: waitMs },
      onCompromised: (cause) => {
        onLost(new SpoorError("Internal", `lost the lock of ${dataDir}`, { cause }));
      },
    });
    await writeFile(ownerPath, identity ?? "unknown");
    return async () => {
      await release();
      socket?.close();
    };
  } catch (cause) {
    socket?.close();
    const isLocked = cause instanceof Error && "code" in cause && cause.code === "ELOCKED";
    throw locked(dataDir, isLocked ? "another process uses it" : String(cause), cause);
  }
}

function locked(dataDir: string, why: string, cause: unknown): SpoorError {
  const message = `cannot lock the data folder ${dataDir}: ${why}`;
  return new SpoorError("Unavailable", message, { cause, reason: "data_dir_locked" });
}

/** Binds the folder's abstract socket; undefined where there are none. Throws if it is taken. */
async function bindSocket(dataDir: string): Promise<Server | undefined> {
  if (process.platform !== "linux") return undefined;
  const { dev, ino } = await stat(dataDir, { bigint: true });
  const server = createServer((connection) => connection.destroy());
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(`\0spoor-data-${dev}-${ino}`, resolve);
  try {
    await promise;
  } catch (cause) {
    const isTaken = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
    throw locked(dataDir, isTaken ? "another process uses it" : String(cause), cause);
  }
  server.unref();
  return server;
}

/** Names this boot and network namespace: abstract sockets exclude each other within it. */
async function namespaceIdentity(): Promise<string | undefined> {
  try {
    const bootId = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
    return `${bootId.trim()} ${await readlink("/proc/self/ns/net")}`;
  } catch {
    // No Linux, or a hidden /proc: then only the lock's age tells whether its owner lives.
    return undefined;
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
  return undefined;
}
