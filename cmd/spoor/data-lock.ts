/**
 * Locks the data folder against a second process. The lock is a folder of `proper-lockfile`, whose
 * modification time the owner refreshes. It works on every file system and between containers, but
 * after `kill -9` it looks alive for some seconds.
 *
 * To restart a crashed process at once, a process on Linux also binds an abstract socket named
 * after the folder. The kernel frees the socket when the process dies. If a process holds the
 * socket and the lock was made in the same network namespace and boot, then the lock's owner is
 * dead. No other process can come to this conclusion at the same time, because only one holds the
 * socket.
 *
 * A process that is paused, or whose clock is wrong, can lose the lock without noticing. Therefore
 * `lock-owner` is a lease that depends on monotonic clocks only:
 *
 *     owner      reads lock-owner every second; its lease lasts 3 s after a read that names it
 *     successor  gets the lock, writes itself into lock-owner, waits 5 s, then reads the log
 *
 * Everything that an owner acknowledged within its lease is durable before the successor reads the
 * log.
 */
import { readFileSync } from "node:fs";
import { mkdir, readFile, readlink, rename, rm, stat, writeFile } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import { createServer, type Server } from "node:net";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { lock } from "proper-lockfile";
import { type Clock, type ClockReading, longestSinceMs, readClock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Log } from "#pkg/log/log.ts";

/** A lock that was not refreshed for this time counts as abandoned. */
const staleMs = 10_000;
const waitRounds = 24;
const waitMs = 500;
const renewMs = 1000;
/** Time after a successful read during which the owner needs no other read. */
const leaseMs = 3000;
/** Wait of a successor: longer than a lease, even if its clock runs slightly fast. */
const takeOverMs = 5000;

interface DataLockOptions {
  clock: Clock;
  log: Log;
  /** Called once when another process has, or may have, the folder: this process must end. */
  onLost: (error: SpoorError) => void;
}

/** The owner of the folder: the content of `lock-owner`. Old versions wrote only `namespace`. */
interface Owner {
  token: string;
  pid: number;
  host: string;
  /** Identifies boot and network namespace, the scope of abstract sockets. */
  namespace: string;
}

/**
 * Locks the folder; creates it if it is missing. Waits some seconds for a lock that another process
 * holds. Throws Unavailable: `data_dir_locked`, or `data_dir_unusable` with the system's error.
 */
export async function lockDataFolder(dataDir: string, options: DataLockOptions): Promise<DataLock> {
  const ownerPath = join(dataDir, "lock-owner");
  let socket: Server | undefined;
  try {
    await makeFolder(dataDir);
    socket = await bindSocket(dataDir);
    const namespace = await namespaceIdentity();
    const former = await readOwner(ownerPath);
    const isDead =
      socket !== undefined &&
      former !== undefined &&
      former.namespace === namespace &&
      namespace !== "";
    if (isDead) await rm(join(dataDir, "lock"), { recursive: true, force: true });
    const self = { token: randomUUID(), pid: process.pid, host: hostname(), namespace };
    const held = new DataLock(ownerPath, self.token, { socket, ...options });
    await held.take(await acquire(dataDir, (cause) => held.lose(cause), options), self);
    if (former !== undefined && !isDead) {
      const fields = {
        dataDir,
        formerPid: former.pid,
        formerHost: former.host,
        waitMs: takeOverMs,
      };
      options.log.warn(fields, "taking over the data folder of a process that does not answer");
      await options.clock.sleep(takeOverMs);
    }
    return held;
  } catch (cause) {
    socket?.close();
    throw await explain(dataDir, ownerPath, cause);
  }
}

/** Creates a folder and its parents. Node's own way loops forever if the system creates none. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (hasErrno(error, "EEXIST") && (await stat(path)).isDirectory()) return;
    const parent = dirname(path);
    const isMissing = hasErrno(error, "ENOENT") && parent !== path;
    if (!isMissing || (await exists(parent))) throw error;
    await makeFolder(parent);
    await mkdir(path);
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return false;
    throw error;
  }
}

/** Gets the lock; retries for some seconds while another process holds it. Returns its release. */
async function acquire(
  dataDir: string,
  onCompromised: (cause: Error) => void,
  { clock }: DataLockOptions,
): Promise<() => Promise<void>> {
  const lockfilePath = join(dataDir, "lock");
  for (let round = 0; ; round++) {
    try {
      return await lock(dataDir, { lockfilePath, stale: staleMs, onCompromised });
    } catch (error) {
      if (!hasErrno(error, "ELOCKED") || round === waitRounds) throw error;
      await clock.sleep(waitMs);
    }
  }
}

/** The lock of a data folder, with its lease. */
export class DataLock {
  readonly #path: string;
  readonly #token: string;
  readonly #options: DataLockOptions & { socket: Server | undefined };
  /** A time at which this process certainly owned the folder. */
  #proof: ClockReading = { wallMs: 0, monotonicMs: Number.NEGATIVE_INFINITY };
  #isLost = false;
  #timer: NodeJS.Timeout | undefined;
  #releaseLock: () => Promise<void> = async () => {};

  constructor(
    path: string,
    token: string,
    options: DataLockOptions & { socket: Server | undefined },
  ) {
    this.#path = path;
    this.#token = token;
    this.#options = options;
  }

  /** Writes the owner file and starts to renew the lease. */
  async take(releaseLock: () => Promise<void>, owner: Owner): Promise<void> {
    this.#releaseLock = releaseLock;
    const temporary = `${this.#path}.${owner.token}`;
    await writeFile(temporary, JSON.stringify(owner));
    await rename(temporary, this.#path);
    await this.#renew();
    this.#timer = setInterval(() => void this.#renew(), renewMs);
    this.#timer.unref();
  }

  /**
   * Returns whether the lease is valid: no successor can have read the log without the records that
   * are durable now. It is called between each fsync and its acknowledgement and reads two clocks.
   * Only after a pause, or a step of the wall clock, does it read a small file.
   */
  readonly isHeld = (): boolean => {
    if (this.#isLost) return false;
    if (longestSinceMs(this.#options.clock, this.#proof) < leaseMs) return true;
    const before = readClock(this.#options.clock);
    try {
      this.#noteRead(before, readFileSync(this.#path, "utf8"));
    } catch (cause) {
      this.lose(cause);
    }
    return !this.#isLost;
  };

  /** Marks the lock as lost and reports it, once. */
  lose(cause: unknown): void {
    if (this.#isLost) return;
    this.#isLost = true;
    clearInterval(this.#timer);
    const message =
      `lost the lock of the data folder (${this.#path}): this process was paused, ` +
      `or the folder could not be read: ${errorText(cause)}`;
    this.#options.onLost(new SpoorError("Internal", message, { reason: "data_dir_lost", cause }));
  }

  /** Releases the folder; leaves a lost one to its new owner. */
  async release(): Promise<void> {
    clearInterval(this.#timer);
    const wasHeld = this.isHeld();
    this.#isLost = true;
    if (wasHeld) {
      await rm(this.#path, { force: true });
      await this.#releaseLock();
    }
    this.#options.socket?.close();
  }

  async #renew(): Promise<void> {
    const before = readClock(this.#options.clock);
    try {
      const text = await readFile(this.#path, "utf8");
      if (!this.#isLost) this.#noteRead(before, text);
    } catch (error) {
      // The lease expires without a renewal. The next check after that reads the file again.
      this.#options.log.warn(
        { path: this.#path, error: errorText(error) },
        "the owner of the data folder's lock cannot be read, retrying",
      );
    }
  }

  #noteRead(before: ClockReading, text: string): void {
    const owner = parseOwner(text);
    if (owner.token === this.#token) this.#proof = before;
    else this.lose(new Error(`process ${owner.pid} on ${owner.host} has it now`));
  }
}

async function readOwner(path: string): Promise<Owner | undefined> {
  try {
    return parseOwner(await readFile(path, "utf8"));
  } catch (error) {
    if (!hasErrno(error, "ENOENT")) throw error;
    return undefined;
  }
}

function parseOwner(text: string): Owner {
  try {
    const { token, pid, host, namespace } = JSON.parse(text) as Record<string, unknown>;
    return {
      token: String(token),
      pid: Number(pid),
      host: String(host),
      namespace: String(namespace),
    };
  } catch {
    return { token: "", pid: 0, host: "", namespace: text };
  }
}

async function explain(dataDir: string, ownerPath: string, cause: unknown): Promise<SpoorError> {
  if (hasErrno(cause, "ELOCKED") || hasErrno(cause, "EADDRINUSE")) {
    const owner = await readOwner(ownerPath).catch(ignoreUnknownOwner);
    const who = owner === undefined || owner.pid === 0 ? "" : ` (${nameOf(owner)})`;
    const message = `cannot lock the data folder ${dataDir}: another process uses it${who}`;
    return new SpoorError("Unavailable", message, { cause, reason: "data_dir_locked" });
  }
  const message = `cannot use the data folder ${dataDir}: ${errorText(cause)}`;
  return new SpoorError("Unavailable", message, { cause, reason: "data_dir_unusable" });
}

/** If the owner's file cannot be read, the message does not name the owner. */
function ignoreUnknownOwner(): undefined {
  return undefined;
}

function nameOf({ pid, host }: Owner): string {
  return host === hostname() ? `process ${pid}` : `process ${pid} on ${host}`;
}

/** Binds the folder's abstract socket; undefined on other systems. Throws EADDRINUSE if taken. */
async function bindSocket(dataDir: string): Promise<Server | undefined> {
  if (process.platform !== "linux") return undefined;
  const { dev, ino } = await stat(dataDir, { bigint: true });
  const server = createServer((connection) => connection.destroy());
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(`\0spoor-data-${dev}-${ino}`, resolve);
  await promise;
  server.unref();
  return server;
}

/** Returns boot and network namespace; empty without /proc: then only the lock's age counts. */
async function namespaceIdentity(): Promise<string> {
  try {
    const bootId = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
    return `${bootId.trim()} ${await readlink("/proc/self/ns/net")}`;
  } catch {
    return "";
  }
}

function hasErrno(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
