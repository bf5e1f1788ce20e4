import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { AsideSpans } from "#pkg/questions/shards.ts";
import { type SpanSpec, traceDataOf } from "#pkg/engine/testing/spans.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import { encodeFailed } from "#pkg/errors/reasons.ts";
import type { StartThread } from "#pkg/threads/thread.ts";
import { Cutter } from "./cutter.ts";
import type { CutResult, CutTask } from "./messages.ts";
import { putBack } from "./put-back.ts";
import { Quarantine } from "./quarantine.ts";
import { readAside } from "./quarantine-files.ts";
import {
  expected,
  makeTrace,
  openIngester,
  startIngester,
  TempFolder,
  type TestIngester,
  type TestIngesterOptions,
} from "./ingester.testing.ts";

const bad = "cannot be encoded";

/** A cutter that cannot encode ranges with this offset; undefined: it can encode all. */
class OneBad extends Cutter {
  readonly #offset: number | undefined;

  constructor(offset: number | undefined, startThread: StartThread) {
    super({ threadsMax: 1, idleMs: 60_000, wasmBytesMax: 2 ** 30, startThread });
    this.#offset = offset;
  }

  override async cut(task: CutTask): Promise<CutResult> {
    const { fromOffset, toOffset } = task.range;
    const at = this.#offset ?? -1;
    if (fromOffset <= at && at < toOffset) {
      throw new SpoorError("Internal", bad, { reason: encodeFailed });
    }
    return await super.cut(task);
  }
}

function cutterOf(badOffset?: number): TestIngesterOptions["cutter"] {
  return (_, startThread) => new OneBad(badOffset, startThread);
}

async function start(dir: string, badOffset?: number): Promise<TestIngester> {
  return await startIngester({ dir, cutter: cutterOf(badOffset) });
}

/** Returns the spans that responses for tenant `t` may lack. */
async function asideOf({ ingester }: TestIngester): Promise<readonly AsideSpans[]> {
  const pinned = await ingester.pin("t", new AbortController().signal);
  pinned.release();
  return pinned.aside ?? [];
}

/** Three records of two spans each; the second one is in quarantine, the others are stored. */
async function withOneAside(dir: string): Promise<SpanSpec[][]> {
  const running = await start(dir, 1);
  const records = Array.from({ length: 3 }, () => makeTrace(2, { partition: 0 }));
  for (const one of records) await running.append("t", one);
  await running.ingester.flush();
  expect(await running.stored("t")).toEqual(expected(records[0], records[2]));
  await running.stop();
  return records;
}

describe("a record in quarantine", () => {
  it("is reported by pins with times and trace ids, even after a restart", async () => {
    await using folder = await TempFolder.make();
    const records = await withOneAside(folder.path);
    const again = await start(folder.path);
    const aside = await asideOf(again);
    const [first, second] = records[1];
    expect(aside).toEqual([
      expect.objectContaining({
        minStartNano: first.startNano,
        maxEndNano: second.endNano,
        traceIds: Buffer.from(first.traceId, "hex"),
      }),
    ]);
    expect(again.ingester.quarantine.totals()).toMatchObject({ records: 1, spans: 2 });
    expect(await again.metric("quarantine_spans")).toBe(2);
    const other = await again.ingester.pin("other", new AbortController().signal);
    expect(other.aside).toEqual([]);
    other.release();
    await again.stop();
  });

  it("may contain any span if it does not parse", async () => {
    await using folder = await TempFolder.make();
    const running = await start(folder.path);
    await running.spanLog.append(0, "t", Uint8Array.of(0x0a, 0x7f, 1, 2, 3));
    await running.ingester.flush();
    const aside = await asideOf(running);
    const [any] = aside;
    expect(any.traceIds).toBeUndefined();
    expect(any.minStartNano < -(2n ** 62n) && any.maxEndNano > 2n ** 62n).toBe(true);
    await running.stop();
  });

  it("is removed when it is in a block, after a process that ended before its commit", async () => {
    await using folder = await TempFolder.make();
    const dir = folder.path;
    const first = await start(dir);
    const record = makeTrace(2, { partition: 0 });
    await first.append("t", record);
    const quarantine = new Quarantine({
      dir: join(dir, "quarantine"),
      bytesMax: 1e6,
      log: first.log,
    });
    const bytes = encodeTraceData(traceDataOf(record));
    await quarantine.put({ tenant: "t", appId: first.appId(0), offset: 0, bytes });
    await first.stop();
    const second = await start(dir);
    expect(second.ingester.quarantine.list()).toHaveLength(1);
    await second.ingester.flush();
    expect(await second.stored("t")).toEqual(expected(record));
    expect(await second.quarantined("t")).toEqual(new Map());
    expect(second.ingester.quarantine.list()).toEqual([]);
    await second.stop();
  });

  it("beyond the limit is refused and stays in the log", async () => {
    await using folder = await TempFolder.make();
    const config = { quarantineBytesMax: 10 };
    const cutter = cutterOf(0);
    const running = await startIngester({ dir: folder.path, config, cutter });
    await running.append("t", makeTrace(1, { partition: 0 }));
    const flushed = running.ingester.flush().catch((error: unknown) => error);
    await expect.poll(() => running.metric("store_failures_total")).toBeGreaterThan(0);
    expect(
      running.log.lines.find(({ fields }) => fields.reason === "quarantine_full"),
    ).toBeDefined();
    expect(await running.quarantined("t")).toEqual(new Map());
    expect(running.spanLog.firstOffset(0)).toBe(0);
    await running.stop();
    expect(await flushed).toBeInstanceOf(SpoorError);
  });
});

describe("putting back", () => {
  it("appends the spans once: they are found, and stored", async () => {
    await using folder = await TempFolder.make();
    const records = await withOneAside(folder.path);
    const running = await openIngester({ dir: folder.path, cutter: cutterOf() });
    const dir = join(folder.path, "quarantine");
    const [record] = await readAside(dir);
    // The log received the same bytes less than ten minutes ago.
    await putBack(record, running.spanLog);
    expect(await readdir(join(dir, "t"))).toEqual([]);
    await running.ingester.start();
    await running.ingester.caughtUp();
    expect(await running.live("t", records[1])).toEqual(expected(records[1]));
    await running.ingester.flush();
    expect(await running.stored("t")).toEqual(expected(...records));
    await running.stop();
  });

  it.each(["note", "append", "record", "note of a record that is gone"])(
    "is finished by the next start if it was killed after: %s",
    async (step) => {
      await using folder = await TempFolder.make();
      const records = await withOneAside(folder.path);
      const dir = join(folder.path, "quarantine");
      const [record] = await readAside(dir);
      const killed = await openIngester({ dir: folder.path });
      const { spanLog } = killed;
      const places = [{ partition: 0, offset: spanLog.durableEnd(0) }];
      const note = { logId: spanLog.id, partitionCount: spanLog.partitionCount, places };
      if (step === "append") {
        await putBackWithoutEnd(record.path, spanLog, records[1]);
      }
      if (step === "record") await putBack(record, spanLog);
      if (step === "note of a record that is gone") await rm(record.path);
      if (step === "append") places[0].offset = spanLog.durableEnd(0) - 1;
      await writeFile(`${record.path}.put-back`, JSON.stringify(note));
      await spanLog.close();
      const next = await start(folder.path);
      await next.ingester.flush();
      const isGone = step === "note of a record that is gone";
      const all = isGone ? [records[0], records[2]] : records;
      const stored = await next.stored("t");
      expect(stored).toEqual(expected(...all));
      expect(await readdir(join(dir, "t"))).toEqual([]);
      await next.stop();
    },
  );

  it("leaves records that do not parse in quarantine, with an error", async () => {
    await using folder = await TempFolder.make();
    const running = await start(folder.path);
    await running.spanLog.append(0, "t", Uint8Array.of(0x0a, 0x7f, 1, 2, 3));
    await running.ingester.flush();
    const [record] = await readAside(join(folder.path, "quarantine"));
    expect(record.facts).toBeUndefined();
    await expect(putBack(record, running.spanLog)).rejects.toMatchObject({ code: "InvalidInput" });
    expect((await running.quarantined("t")).size).toBe(1);
    await running.stop();
  });
});

/** Runs only the second step. */
async function putBackWithoutEnd(
  path: string,
  spanLog: TestIngester["spanLog"],
  record: SpanSpec[],
): Promise<void> {
  const bytes = encodeTraceData(traceDataOf(record));
  // An unknown field makes the bytes new to the log.
  await spanLog.append(0, "t", [bytes, Uint8Array.of(0xc2, 0xb8, 0x02, 1, path.length & 0x7f)]);
}
