/**
 * Simulates a power cut after any step: only synced data survives, and names only if their folder
 * was synced. All acknowledged records must be found, and no other records.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HandClock, KeptLog, readAll, TempDir } from "./span-log.testing.ts";
import { openFileLog } from "./file-log.ts";
import { nodeLogFs, type LogFile, type LogFs } from "./log-fs.ts";
import type { SpanLog } from "./span-log.ts";

/** A file's identity, which outlives its names. */
interface Inode {
  /** Undefined for a folder. */
  content: () => Buffer;
  durable: Buffer;
  isFolder: boolean;
}

/** The real disk, with a shadow of the content that a power cut would leave. */
class ShadowFs implements LogFs {
  readonly #now = new Map<string, Inode>();
  /** Folder -> name -> inode, as of the last sync of the folder. */
  readonly #durable = new Map<string, Map<string, Inode>>();
  /** Files whose syncs never end: the process is about to be killed. */
  stuck: "nothing" | "files" | "folders" = "nothing";
  /** Called when such a sync begins. */
  onStuck: () => void = () => undefined;

  async open(path: string, create: boolean): Promise<LogFile> {
    const file = await nodeLogFs.open(path, create);
    const known = this.#now.get(path);
    const inode = known ?? newFile(path);
    this.#now.set(path, inode);
    return new ShadowFile(file, inode, this);
  }
  async mkdir(path: string): Promise<string | undefined> {
    const top = await nodeLogFs.mkdir(path);
    if (top === undefined) return undefined;
    for (let made = path; made.length >= top.length; made = dirname(made)) {
      const empty = Buffer.alloc(0);
      this.#now.set(made, { content: () => empty, durable: empty, isFolder: true });
    }
    return top;
  }
  readdir(path: string): Promise<string[]> {
    return nodeLogFs.readdir(path);
  }
  async rename(from: string, to: string): Promise<void> {
    await nodeLogFs.rename(from, to);
    const inode = this.#now.get(from)!;
    inode.content = () => readFileSync(to);
    this.#now.delete(from);
    this.#now.set(to, inode);
  }
  async unlink(path: string): Promise<void> {
    await nodeLogFs.unlink(path);
    this.#now.delete(path);
  }
  copy(from: string, to: string): Promise<void> {
    return nodeLogFs.copy(from, to);
  }
  syncDir(path: string): Promise<void> {
    if (this.stuck === "folders") return this.never();
    const names = new Map<string, Inode>();
    for (const [child, inode] of this.#now) if (dirname(child) === path) names.set(child, inode);
    this.#durable.set(path, names);
    return Promise.resolve();
  }
  never(): Promise<never> {
    this.onStuck();
    return new Promise(() => undefined);
  }
  freeBytes(): Promise<number> {
    return Promise.resolve(Number.MAX_SAFE_INTEGER);
  }

  /** Writes the surviving content of `root` into `target`, with a `share` of the unsynced bytes. */
  cut(root: string, target: string, share: number): void {
    const folders = [root];
    for (const folder of folders) {
      mkdirSync(join(target, relative(root, folder)), { recursive: true });
      for (const [path, inode] of this.#durable.get(folder) ?? []) {
        if (inode.isFolder) folders.push(path);
        else writeFileSync(join(target, relative(root, path)), this.#left(path, inode, share));
      }
    }
  }

  #left(path: string, inode: Inode, share: number): Buffer {
    const { durable } = inode;
    if (this.#now.get(path) !== inode) return durable;
    const extra = inode.content().subarray(durable.length);
    return Buffer.concat([durable, extra.subarray(0, Math.floor(extra.length * share))]);
  }
}

class ShadowFile implements LogFile {
  readonly #file: LogFile;
  readonly #inode: Inode;
  readonly #fs: ShadowFs;

  constructor(file: LogFile, inode: Inode, fs: ShadowFs) {
    this.#file = file;
    this.#inode = inode;
    this.#fs = fs;
  }
  writev(buffers: readonly Uint8Array[], position: number): Promise<number> {
    return this.#file.writev(buffers, position);
  }
  datasync(): Promise<void> {
    if (this.#fs.stuck === "files") return this.#fs.never();
    this.#inode.durable = this.#inode.content();
    return Promise.resolve();
  }
  truncate(sizeBytes: number): Promise<void> {
    return this.#file.truncate(sizeBytes);
  }
  close(): Promise<void> {
    return this.#file.close();
  }
}

function newFile(path: string): Inode {
  return { content: () => readFileSync(path), durable: Buffer.alloc(0), isFolder: false };
}

type Step =
  | { op: "append"; partition: number; sizes: number[] }
  | { op: "trim"; partition: number; share: number }
  | { op: "reopen" };

const partition = fc.nat(1);
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant("append" as const),
      partition,
      sizes: fc.array(fc.nat(300), { minLength: 1, maxLength: 6 }),
    }),
  },
  fc.record({ op: fc.constant("trim" as const), partition, share: fc.nat(10) }),
  fc.record({ op: fc.constant("reopen" as const) }),
);

class Run {
  readonly fs = new ShadowFs();
  readonly clock = new HandClock();
  readonly root: string;
  /** Two folders that opening has to create. */
  readonly dir: string;
  readonly acknowledged: string[][] = [[], []];
  readonly trimmedTo = [0, 0];
  log: SpanLog | undefined;
  #serial = 0;

  constructor(root: string) {
    this.root = resolve(root);
    this.dir = join(this.root, "data", "log");
  }

  async open(dir: string, fs: LogFs): Promise<SpanLog> {
    const { clock } = this;
    const bounds = { partitionCount: 2, segmentBytesMax: 800, freeBytesMin: 0, bytesMax: 8000 };
    return openFileLog(dir, { clock, log: new KeptLog(), fs, ...bounds });
  }

  async step(step: Step): Promise<void> {
    if (step.op === "reopen") {
      await this.log!.close();
      this.log = await this.open(this.dir, this.fs);
    } else if (step.op === "trim") {
      const { partition, share } = step;
      const upTo = Math.floor((this.acknowledged[partition].length * share) / 10);
      await this.log!.trim(partition, upTo, { acme: upTo });
      this.trimmedTo[partition] = Math.max(this.trimmedTo[partition], upTo);
    } else {
      const texts = step.sizes.map((size) => `${this.#serial++}/`.padEnd(size, "."));
      const append = (text: string): Promise<void> =>
        this.log!.append(step.partition, "acme", Buffer.from(text)).then(
          ({ offset }) => void (this.acknowledged[step.partition][offset] = text),
          (error: unknown) => expect(error).toMatchObject({ reason: "log_full" }),
        );
      await Promise.all(texts.map(append));
    }
  }

  /** Appends, and is killed during the sync of the written bytes. */
  async killAtSync(what: ShadowFs["stuck"], text: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.fs.stuck = what;
    this.fs.onStuck = resolve;
    void this.log!.append(0, "acme", Buffer.from(text));
    await promise;
    this.fs.stuck = "nothing";
  }

  /** Opens the content that a power cut would leave, and reads, appends and trims there. */
  async checkCut(share: number): Promise<void> {
    using left = new TempDir();
    this.fs.cut(this.root, left.path, share);
    const dir = join(left.path, relative(this.root, this.dir));
    await using log = await this.open(dir, nodeLogFs);
    expect(log.damage).toEqual([]);
    for (const p of [0, 1]) {
      const known = this.acknowledged[p];
      expect(log.durableEnd(p)).toBe(known.length);
      expect(log.firstOffset(p)).toBe(this.trimmedTo[p]);
      const { gaps, records } = readAll(dir, p, { from: 0, to: known.length });
      for (const { offset, text } of records) expect(text).toBe(known[offset]);
      const from = gaps[0]?.toOffset ?? 0;
      expect(records).toHaveLength(known.length - from);
      expect(from).toBeLessThanOrEqual(this.trimmedTo[p]);
      // Retries of all acknowledged records are recognised, also of trimmed ones.
      for (const [offset, text] of known.entries()) {
        const answer = await log.append(p, "acme", Buffer.from(text));
        expect(answer).toEqual({ offset, duplicate: true });
      }
    }
  }
}

describe("power cut", () => {
  // Real files with real syncs: a disk may be slow.
  it("after any step keeps all acknowledged records", { timeout: 240_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(steps, { maxLength: 15 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        async (list, share) => {
          using dir = new TempDir();
          const run = new Run(dir.path);
          run.log = await run.open(run.dir, run.fs);
          await run.checkCut(share);
          for (const step of list) {
            await run.step(step);
            await run.checkCut(share);
          }
          await run.log.close();
        },
      ),
      { numRuns: 40 },
    );
  });

  it("after a kill before the sync: an acknowledged retry is durable", async () => {
    using dir = new TempDir();
    const run = new Run(dir.path);
    run.log = await run.open(run.dir, run.fs);
    await run.step({ op: "append", partition: 0, sizes: [10] });
    // Written, not synced; the page cache outlives the process.
    await run.killAtSync("files", "sent again");
    run.log = await run.open(run.dir, run.fs);
    const again = await run.log.append(0, "acme", Buffer.from("sent again"));
    expect(again).toEqual({ offset: 1, duplicate: true });
    run.acknowledged[0][1] = "sent again";
    await run.checkCut(0);
    await run.log.close();
  });

  it("after a kill before the folder's sync: names that are used are durable", async () => {
    using dir = new TempDir();
    const run = new Run(dir.path);
    run.log = await run.open(run.dir, run.fs);
    await run.step({ op: "append", partition: 0, sizes: [600] });
    // Larger than the rest of the segment, so the next segment is created.
    await run.killAtSync("folders", "x".repeat(600));
    run.log = await run.open(run.dir, run.fs);
    await run.step({ op: "append", partition: 0, sizes: [20] });
    await run.checkCut(0);
    await run.log.close();
  });
});
