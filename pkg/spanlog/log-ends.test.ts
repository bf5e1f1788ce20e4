/** Tests of a log that is gone, or that ends before an acknowledged record. */
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { cutFile, KeptLog, openTestLog, readAll, TempDir } from "./span-log.testing.ts";
import type { SpanLog } from "./span-log.ts";

class LogFixture implements Disposable {
  readonly #dir = new TempDir();
  readonly lines = new KeptLog();
  readonly log: string = `${this.#dir.path}/log`;
  readonly ends: string = `${this.#dir.path}/log-ends.json`;

  open(): Promise<SpanLog> {
    return openTestLog(this.log, { endsPath: this.ends, log: this.lines });
  }

  errors(): unknown[] {
    return this.lines.lines.filter(({ level }) => level === "error");
  }

  /** A closed log with ten records in partition 0; four of them are in the table. */
  async filled(): Promise<string[]> {
    const log = await this.open();
    expect(log.damage).toEqual([]);
    for (let i = 0; i < 10; i++) await log.append(0, "acme", Buffer.from(`${i} `.padEnd(300)));
    await log.trim(0, 4, { acme: 4 });
    await log.close();
    const names = readdirSync(`${this.log}/p0`).filter((name) => name.endsWith(".seg"));
    return names.sort().map((name) => `${this.log}/p0/${name}`);
  }

  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]();
  }
}

describe("losses of the log", () => {
  it.each(["deleted", "emptied"])("whose folder was %s are reported once", async (how) => {
    using fixture = new LogFixture();
    await fixture.filled();
    rmSync(fixture.log, { recursive: true });
    if (how === "emptied") mkdirSync(fixture.log);
    const log = await fixture.open();
    expect(log.damage).toMatchObject([
      { kind: "log_missing", partition: 0, fromOffset: 4, toOffset: 10 },
    ]);
    expect(log.damage[0].message).toContain("up to 6 acknowledged records were in no block");
    expect([fixture.errors().length, log.stats().damagesTotal]).toEqual([1, 1]);
    await log.close();
    const again = await fixture.open();
    expect(again.damage).toEqual([]);
    await again.close();
  });

  it("are not reported if all records were in blocks", async () => {
    using fixture = new LogFixture();
    await fixture.filled();
    const log = await fixture.open();
    await log.trim(0, 10, { acme: 10 });
    await log.close();
    rmSync(fixture.log, { recursive: true });
    const next = await fixture.open();
    expect(next.damage).toEqual([]);
    expect(fixture.lines.lines.some(({ message }) => message.startsWith("the log is gone"))).toBe(
      true,
    );
    await next.close();
  });

  it.each(["cut", "deleted"])("whose last segment was %s are found", async (how) => {
    using fixture = new LogFixture();
    const paths = await fixture.filled();
    const path = paths.findLast((one) => statSync(one).size > 64)!;
    if (how === "cut") cutFile(path, statSync(path).size - 400);
    else rmSync(path);
    for (const later of paths.slice(paths.indexOf(path) + 1)) rmSync(later);
    const log = await fixture.open();
    const [damage] = log.damage;
    expect(damage).toMatchObject({ kind: "lost_records", toOffset: 10 });
    expect(damage.fromOffset).toBeLessThan(10);
    // Used offsets are not reused, and readers see a gap.
    expect(log.durableEnd(0)).toBe(10);
    const { gaps } = readAll(fixture.log, 0, { from: 4, to: 10 });
    expect(gaps.map(({ reason, toOffset }) => [reason, toOffset])).toEqual([["lost", 10]]);
    expect((await log.append(0, "acme", Buffer.from("next"))).offset).toBe(10);
    await log.close();
  });

  it("cannot be detected with a damaged ends file, which is reported", async () => {
    using fixture = new LogFixture();
    await fixture.filled();
    writeFileSync(fixture.ends, "{}");
    const log = await fixture.open();
    expect(log.damage).toMatchObject([{ kind: "log_ends" }]);
    expect(log.durableEnd(0)).toBe(10);
    await log.close();
  });
});
