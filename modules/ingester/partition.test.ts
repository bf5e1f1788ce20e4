import { join } from "node:path";
import { expect, it } from "vitest";
import { defaultLimits } from "#pkg/limits/tenant-limits.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import { traceDataOf } from "#pkg/engine/testing/spans.ts";
import { SharedNumber } from "#pkg/threads/shared-number.ts";
import { openFileLogReader } from "#pkg/spanlog/file-log-reader.ts";
import { HandClock, openTestLog } from "#pkg/spanlog/span-log.testing.ts";
import { ingesterConfig } from "./config.ts";
import { Partition } from "./partition.ts";
import { makeTrace, TempFolder } from "./ingester.testing.ts";

const hour = 3_600_000;

it.each([-2 * hour, 2 * hour])(
  "a wall clock stepped by %i ms neither delays nor hastens cuts by age and the end of pins",
  async (steppedMs) => {
    await using folder = await TempFolder.make();
    const logDir = join(folder.path, "log");
    const log = await openTestLog(logDir);
    const { offset } = await log.append(0, "t", encodeTraceData(traceDataOf(makeTrace(3))));
    const clock = new HandClock();
    using reader = openFileLogReader(logDir, 0);
    const closed: number[] = [];
    const partition = new Partition({
      logConfig: { kind: "file", dir: logDir },
      partition: 0,
      fromOffset: 0,
      durableEnd: offset + 1,
      durable: new SharedNumber().buffer,
      committed: new Map(),
      blocked: new Set(),
      config: ingesterConfig.parse({ cutAgeMs: 60_000, pinMs: 30_000 }),
      headBytesMax: 64 * 1024 * 1024,
      limits: { defaults: defaultLimits, tenants: new Map() },
      reader,
      clock,
      onClosed: ({ headId }) => closed.push(headId),
      onUndecodable: () => undefined,
      onCut: () => undefined,
      onLargeTraces: () => undefined,
      onLost: () => undefined,
    });
    await partition.readSome();
    partition.pin("t");
    clock.steppedMs = steppedMs;
    clock.ms += 29_999;
    await partition.readSome();
    expect(partition.state().pins).toBe(1);
    clock.ms += 1000;
    await partition.readSome();
    expect(partition.state().pins).toBe(0);
    expect(closed).toEqual([]);
    clock.ms += 30_000;
    await partition.readSome();
    expect(closed).toEqual([0]);
    await log.close();
  },
);
