/** The event log of a simulation: a digest of all events, and the last lines. */
import { createHash } from "node:crypto";

const linesKept = 400;

export class Trace {
  readonly #hash = createHash("sha256");
  readonly #lines: string[] = [];
  /** Called with each line, for debugging a failure. */
  readonly #onLine: ((line: string) => void) | undefined;
  count = 0;

  constructor(onLine?: (line: string) => void) {
    this.#onLine = onLine;
  }

  add(atMs: number, text: string): void {
    const line = `${atMs} ${text}`;
    this.count++;
    this.#hash.update(`${line}\n`);
    this.#onLine?.(line);
    this.#lines.push(line);
    if (this.#lines.length > linesKept * 2) this.#lines.splice(0, linesKept);
  }

  /** Returns 16 hex digits. Equal digests mean equal events at equal times. */
  digest(): string {
    return this.#hash.copy().digest("hex").slice(0, 16);
  }

  last(count: number): string[] {
    return this.#lines.slice(-count);
  }
}
