/**
 * The log's disk: real files in a folder, written at times that the simulation chooses. It tracks
 * what a power cut would preserve: the bytes before a file's last sync and some later ones, and the
 * names before a folder's last sync and some later ones.
 */
import {
  closeSync,
  copyFileSync,
  cpSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writevSync,
} from "node:fs";
import { dirname } from "node:path";
import type { LogFile, LogFs } from "#pkg/spanlog/log-fs.ts";
import type { Dice } from "./dice.ts";
import type { Gate } from "./gate.ts";
import type { Moment } from "./network.ts";
import type { VirtualTime } from "./virtual-time.ts";
import type { Weather } from "./weather.ts";

export interface DiskOptions {
  time: VirtualTime;
  weather: Weather;
  dice: Dice;
  /** May kill the process. */
  onMoment: (what: string, moment: Moment) => void;
}

interface Inode {
  durableBytes: number;
  /** A sync failed, so later syncs of the file prove nothing. */
  hasFailedSync: boolean;
}

interface Operation {
  name: string;
  run: () => unknown;
  /** Does a part of the operation, for a kill in the middle; all or nothing by default. */
  runHalf?: () => void;
}

const freeBytes = 2 ** 40;

/** One volume, which outlives the processes that use it. */
export class Disk {
  readonly #options: DiskOptions;
  readonly #inodes = new Map<string, Inode>();
  /** Folder -> undo functions of changes to its names since its last sync, the latest last. */
  readonly #names = new Map<string, (() => void)[]>();
  readonly #inFlight = new Set<Operation>();
  readonly #open = new Set<number>();
  #isGone = false;

  constructor(options: DiskOptions) {
    this.#options = options;
  }

  /** Returns the volume's interface for one process. */
  mount(gate: Gate): LogFs {
    const op = <T>(name: string, run: () => T): Promise<T> => this.run(gate, { name, run });
    return {
      open: (path, create) =>
        op(create ? "create" : "open", () => this.#openFile(gate, path, create)),
      mkdir: (path) => op("mkdir", () => mkdirSync(path, { recursive: true })),
      readdir: (path) => op("readdir", () => readdirSync(path)),
      rename: (from, to) => op("rename", () => this.#rename(from, to)),
      unlink: (path) => op("unlink", () => this.#unlink(path)),
      copy: (from, to) => op("copy", () => copyFileSync(from, to)),
      syncDir: (path) => op("syncDir", () => void this.#names.delete(path)),
      freeBytes: () =>
        op("freeBytes", () => (this.#options.weather.disk === "full" ? 0 : freeBytes)),
    };
  }

  /** Handles a kill of the process: each operation in flight is done, half done or not done. */
  kill(): void {
    const { dice } = this.#options;
    for (const { run, runHalf } of this.#inFlight) {
      const fate = dice.below(3);
      if (fate === 0) break;
      if (fate === 1 && runHalf !== undefined) {
        runHalf();
        break;
      }
      try {
        run();
      } catch {
        // The operation failed, and its process is dead.
        break;
      }
    }
    this.#inFlight.clear();
    for (const fd of this.#open) closeSync(fd);
    this.#open.clear();
  }

  /** Simulates a power cut after a kill: unsynced bytes and names may be lost. */
  cutPower(): void {
    const { dice } = this.#options;
    for (const [path, { durableBytes }] of this.#inodes) {
      const extra = statSync(path).size - durableBytes;
      if (extra > 0) truncateSync(path, durableBytes + dice.below(extra + 1));
    }
    for (const undo of this.#names.values()) {
      for (let left = dice.below(undo.length + 1); left > 0; left--) undo.pop()!();
    }
    this.#names.clear();
  }

  /** Moves the volume to another machine; the previous user gets errors from now on. */
  takeOver(from: string, to: string): Disk {
    cpSync(from, to, { recursive: true });
    const taken = new Disk(this.#options);
    for (const [path, inode] of this.#inodes) taken.#inodes.set(path.replace(from, to), inode);
    this.#isGone = true;
    return taken;
  }

  /** Runs an operation after a delay, unless the process has died by then. */
  run<T>(gate: Gate, operation: Operation & { run: () => T }): Promise<T> {
    const { time, weather, onMoment } = this.#options;
    const { name } = operation;
    const result = Promise.withResolvers<T>();
    onMoment(name, "before");
    if (gate.isDead) return result.promise;
    this.#inFlight.add(operation);
    time.after(weather.diskLatencyMs(name), () => {
      if (!this.#inFlight.delete(operation)) return;
      const settle = this.#outcome(operation, result);
      onMoment(name, "after");
      gate.deliver(settle);
    });
    return result.promise;
  }

  #outcome<T>(
    operation: Operation & { run: () => T },
    result: PromiseWithResolvers<T>,
  ): () => void {
    const fault = this.#isGone ? "before" : this.#options.weather.diskFault(operation.name);
    try {
      if (fault === "before") operation.runHalf?.();
      const value = fault === "before" ? undefined : operation.run();
      if (fault === "none") return () => result.resolve(value as T);
      const code = this.#options.weather.disk === "full" ? "ENOSPC" : "EIO";
      const error = Object.assign(new Error(`${code}: ${operation.name}`), { code });
      return () => result.reject(error);
    } catch (error) {
      return () => result.reject(error);
    }
  }

  #openFile(gate: Gate, path: string, create: boolean): LogFile {
    const isNew = create && !exists(path);
    const fd = openSync(path, create ? "w" : "r+");
    this.#open.add(fd);
    if (isNew) this.#changed(path, () => this.#forget(path));
    // A truncated file starts without the history of failed syncs.
    const known = create ? undefined : this.#inodes.get(path);
    const inode = known ?? { durableBytes: fstatSync(fd).size, hasFailedSync: false };
    // Only the process that saw the failed sync is affected; lost kernel pages are not simulated.
    inode.hasFailedSync = false;
    this.#inodes.set(path, inode);
    const close = (): void => {
      if (this.#open.delete(fd)) closeSync(fd);
    };
    return {
      writev: (buffers, position) => this.#write(gate, fd, buffers, position),
      datasync: () => this.#sync(gate, fd, inode),
      truncate: (size) => this.run(gate, { name: "truncate", run: () => ftruncateSync(fd, size) }),
      close: () => this.run(gate, { name: "close", run: close }),
    };
  }

  #write(
    gate: Gate,
    fd: number,
    buffers: readonly Uint8Array[],
    position: number,
  ): Promise<number> {
    const { dice } = this.#options;
    const runHalf = (): void => {
      const all = Buffer.concat(buffers);
      writevSync(fd, [all.subarray(0, dice.below(all.length))], position);
    };
    const run = (): number => writevSync(fd, [...buffers], position);
    return this.run(gate, { name: "writev", run, runHalf });
  }

  async #sync(gate: Gate, fd: number, inode: Inode): Promise<void> {
    const run = (): void => {
      if (!inode.hasFailedSync) inode.durableBytes = fstatSync(fd).size;
    };
    try {
      await this.run(gate, { name: "datasync", run });
    } catch (error) {
      inode.hasFailedSync = true;
      throw error;
    }
  }

  #rename(from: string, to: string): void {
    const replaced = exists(to) ? readFileSync(to) : undefined;
    const old = this.#inodes.get(to);
    renameSync(from, to);
    const inode = this.#inodes.get(from)!;
    this.#inodes.delete(from);
    this.#inodes.set(to, inode);
    this.#changed(to, () => {
      // Without a replaced file, undoing the rename removes the name and its content.
      if (replaced === undefined) return this.#forget(to);
      writeFileSync(to, replaced);
      this.#inodes.set(to, old ?? { durableBytes: replaced.length, hasFailedSync: false });
    });
  }

  #unlink(path: string): void {
    const content = readFileSync(path);
    const old = this.#inodes.get(path);
    unlinkSync(path);
    this.#inodes.delete(path);
    this.#changed(path, () => {
      writeFileSync(path, content);
      if (old !== undefined) this.#inodes.set(path, old);
    });
  }

  #forget(path: string): void {
    if (exists(path)) unlinkSync(path);
    this.#inodes.delete(path);
  }

  #changed(path: string, undo: () => void): void {
    const folder = dirname(path);
    const known = this.#names.get(folder);
    if (known === undefined) this.#names.set(folder, [undo]);
    else known.push(undo);
  }
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
