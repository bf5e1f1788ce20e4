/**
 * Checks the segments of former owners of the log. An owner that was paused and replaced may go on
 * writing when it resumes. It acknowledges none of these records, and no reader reads them. This
 * check finds and reports them.
 */
import { closeSync, statSync } from "node:fs";
import { openRegularFile } from "#pkg/files/files.ts";
import { type SegmentId, parseSegmentName, segmentName, segmentSeed } from "./format.ts";
import { errorText, partitionFolder, reportDamage, type LogContext } from "./log-context.ts";
import { SegmentWalker } from "./segment-walker.ts";

/** Bytes that are read and checked per turn of the event loop: about 2 ms. */
const windowBytes = 4 * 1024 * 1024;

export class FormerSegments {
  readonly #context: LogContext;
  readonly #partition: number;
  readonly #folder: string;
  /** Name -> bytes of the file that were read when the log was opened, or reported. */
  readonly #known: Map<string, number>;
  /** Settles when the last check is done; never rejects. */
  #checking: Promise<void> = Promise.resolve();

  constructor(context: LogContext, partition: number, known: Map<string, number>) {
    this.#context = context;
    this.#partition = partition;
    this.#folder = partitionFolder(context.dir, partition);
    this.#known = known;
  }

  /** Reports records that were written since the last check. Never rejects. */
  check(): Promise<void> {
    this.#checking = this.#checking.then(() => this.#check());
    return this.#checking;
  }

  async #check(): Promise<void> {
    const { fs, log, owner } = this.#context;
    try {
      for (const name of await fs.readdir(this.#folder)) {
        const id = parseSegmentName(name);
        if (id !== undefined && id.owner < owner) await this.#checkFile(name, id);
      }
    } catch (error) {
      const fields = { folder: this.#folder, error: errorText(error) };
      log.warn(fields, "segments of former owners of the log cannot be checked");
    }
  }

  async #checkFile(name: string, id: SegmentId): Promise<void> {
    const { logId } = this.#context;
    const path = `${this.#folder}/${name}`;
    const knownBytes = this.#known.get(name) ?? 0;
    const { size } = statSync(path);
    if (size <= knownBytes) return;
    const fd = openRegularFile(path);
    try {
      const count = await countRecords(fd, segmentSeed(logId, this.#partition, id), {
        fromBytes: knownBytes,
        firstOffset: id.firstOffset,
      });
      this.#known.set(name, size);
      if (count > 0) this.#report(id, count);
    } finally {
      closeSync(fd);
    }
  }

  #report(id: SegmentId, count: number): void {
    const { counters } = this.#context;
    counters.fencedRecordsTotal += count;
    const path = `${this.#folder}/${segmentName(id)}`;
    reportDamage(this.#context, {
      kind: "fenced_records",
      partition: this.#partition,
      fromOffset: id.firstOffset,
      toOffset: id.firstOffset,
      message:
        `${count} records in ${path} are not read: owner ${id.owner} of the log, ` +
        "which was paused or cut off, wrote them after it was replaced, and acknowledged none",
    });
  }
}

/** Counts the valid records of an open segment that end after `fromBytes`. */
async function countRecords(
  fd: number,
  seed: number,
  { fromBytes, firstOffset }: { fromBytes: number; firstOffset: number },
): Promise<number> {
  const walker = new SegmentWalker();
  walker.start(fd, seed, firstOffset);
  for (let count = 0; ;) {
    walker.fill(windowBytes, Number.MAX_SAFE_INTEGER);
    let step = walker.next();
    for (; step === "record"; step = walker.next()) if (walker.cleanBytes > fromBytes) count++;
    if (step === "end") return count;
    await new Promise(setImmediate);
  }
}
