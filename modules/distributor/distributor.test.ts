import { randomBytes } from "node:crypto";
import { Registry } from "prom-client";
import { afterEach, describe, expect, it } from "vitest";
import type { PushResult } from "#pkg/api/ingest.ts";
import { canonicalSpans } from "#pkg/columns/canonical.ts";
import { type SpanSpec, traceDataOf } from "#pkg/engine/testing/spans.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { TenantLimits } from "#pkg/limits/tenant-limits.ts";
import { Refusals } from "#pkg/limits/refusals.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { decodeTraceData } from "#pkg/otlp/decode.ts";
import { encodeTraceData } from "#pkg/otlp/encode.ts";
import { partitionOf } from "#pkg/otlp/trace-hash.ts";
import { singleTenant } from "#pkg/tenant/tenant-name.ts";
import type { FileLogOptions } from "#pkg/spanlog/file-log.ts";
import { FaultyFs, openTestLog, readAll, TempDir } from "#pkg/spanlog/span-log.testing.ts";
import type { SpanLog } from "#pkg/spanlog/span-log.ts";
import { distributorConfig } from "./config.ts";
import { TenantActivity } from "./activity.ts";
import { Distributor } from "./distributor.ts";

const partitionCount = 4;

interface Running {
  distributor: Distributor;
  spanLog: SpanLog;
  fs: FaultyFs;
  registry: Registry;
  failingTenants: Set<string>;
  push(body: Uint8Array, options?: PushOptions): Promise<PushResult>;
  /** All records of the log: tenant and bytes. */
  records(): { tenant: string; bytes: Uint8Array }[];
}

interface PushOptions {
  tenant?: string;
  key?: Uint8Array;
  signal?: AbortSignal;
}

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(logOptions: Partial<FileLogOptions> = {}): Promise<Running> {
  const dir = new TempDir();
  cleanups.push(() => dir[Symbol.dispose]());
  const fs = new FaultyFs();
  const spanLog = await openTestLog(dir.path, { fs, partitionCount, ...logOptions });
  const registry = new Registry();
  const failingTenants = new Set<string>();
  const limits = new TenantLimits();
  const distributor = new Distributor({
    config: distributorConfig.parse({ retryAfterMs: 1234 }),
    spanLog,
    registry,
    isTenantFailing: (tenant) => failingTenants.has(tenant),
    limits,
    refusals: new Refusals(systemClock, openLog("silent")),
    activity: new TenantActivity(systemClock),
    clock: systemClock,
  });
  cleanups.push(async () => {
    await distributor.stop();
    await spanLog.close();
  });
  const push = (body: Uint8Array, options: PushOptions = {}): Promise<PushResult> => {
    const { tenant = singleTenant, key, signal = new AbortController().signal } = options;
    return distributor.push({ tenant, body, key, protocol: "test", signal });
  };
  const records = (): { tenant: string; bytes: Uint8Array }[] =>
    Array.from({ length: partitionCount }, (_, partition) => {
      const range = { from: 0, to: spanLog.durableEnd(partition) };
      return readAll(dir.path, partition, range).records;
    })
      .flat()
      .map(({ tenant, text }) => ({ tenant, bytes: Buffer.from(text, "latin1") }));
  return { distributor, spanLog, fs, registry, failingTenants, push, records };
}

function spec(options: Partial<SpanSpec> = {}): SpanSpec {
  const traceId = randomBytes(16).toString("hex");
  const spanId = randomBytes(8).toString("hex");
  return { traceId, spanId, service: "shop", startNano: 1n, endNano: 5n, ...options };
}

/** A trace id of this partition. */
function idInPartition(partition: number): string {
  for (;;) {
    const id = randomBytes(16);
    if (partitionOf(id, 0, partitionCount) === partition) return id.toString("hex");
  }
}

function bodyOf(specs: readonly SpanSpec[]): Uint8Array {
  return encodeTraceData(traceDataOf(specs));
}

/** One span per partition. */
function bodyOverAll(): Uint8Array {
  const ids = Array.from({ length: partitionCount }, (_, i) => idInPartition(i));
  return bodyOf(ids.map((traceId) => spec({ traceId })));
}

function spansOf(records: readonly { bytes: Uint8Array }[]): string[] {
  return records.flatMap(({ bytes }) => canonicalSpans(decodeTraceData(bytes))).sort();
}

async function refusal(push: Promise<PushResult>): Promise<SpoorError> {
  const error: unknown = await push.catch((thrown: unknown) => thrown);
  if (error instanceof SpoorError) return error;
  throw new Error(`not refused with a SpoorError: ${JSON.stringify(error)}`);
}

async function metric(registry: Registry, name: string, label?: string): Promise<number> {
  const text = await registry.metrics();
  const key = `spoor_distributor_${name}${label === undefined ? "" : `{${label}}`} `;
  const line = text.split("\n").find((one) => one.startsWith(key));
  return line === undefined ? 0 : Number(line.slice(key.length));
}

describe("what is stored", () => {
  it("is every span, in the partition of its trace id, under the one tenant", async () => {
    const running = await start();
    const specs = Array.from({ length: 50 }, () => spec());
    const result = await running.push(bodyOf(specs));
    expect(result).toEqual({ acceptedSpans: 50, rejectedSpans: 0, rejectedMessage: "" });
    const records = running.records();
    expect(spansOf(records)).toEqual(canonicalSpans(traceDataOf(specs)));
    expect(new Set(records.map(({ tenant }) => tenant))).toEqual(new Set(["single-tenant"]));
    const { registry } = running;
    expect(await metric(registry, "spans_total", 'tenant="single-tenant"')).toBe(50);
    expect(await metric(registry, "records_total")).toBe(records.length);
  });

  it("is nothing for a request without spans", async () => {
    const running = await start();
    const nothing = { acceptedSpans: 0, rejectedSpans: 0, rejectedMessage: "" };
    expect(await running.push(new Uint8Array(0))).toEqual(nothing);
    expect(await running.push(encodeTraceData({ resourceSpans: [] }))).toEqual(nothing);
    expect(running.records()).toEqual([]);
  });

  it("is the same for a large body, which a thread splits", async () => {
    const running = await start({ segmentBytesMax: 8 * 1024 * 1024 });
    const filler = "x".repeat(5000);
    const specs = Array.from({ length: 400 }, () => spec({ attributes: { filler } }));
    const body = bodyOf(specs);
    expect(body.length).toBeGreaterThan(1024 * 1024);
    // A part of a larger buffer, which must stay where it is, and one that may be moved.
    const within = new Uint8Array(body.length + 8).subarray(3, 3 + body.length);
    within.set(body);
    const expected = { acceptedSpans: 400, rejectedSpans: 0, rejectedMessage: "" };
    expect(await running.push(within)).toEqual(expected);
    expect(within.length).toBe(body.length);
    expect(await metric(running.registry, "split_threads")).toBeGreaterThan(0);
    expect(spansOf(running.records())).toEqual(canonicalSpans(traceDataOf(specs)));
    const label = 'tenant="single-tenant"';
    expect(await metric(running.registry, "bytes_total", label)).toBe(body.length);
    const stored = running.records().length;
    expect(await running.push(new Uint8Array(body))).toEqual(expected);
    expect(running.records()).toHaveLength(stored);
  });

  it("starts no thread for small bodies", async () => {
    const running = await start();
    await running.push(bodyOf(Array.from({ length: 500 }, () => spec())));
    expect(await metric(running.registry, "split_threads")).toBe(0);
  });

  it("is a large body of one trace as it came", async () => {
    const running = await start({ segmentBytesMax: 8 * 1024 * 1024 });
    const traceId = idInPartition(2);
    const attributes = { filler: "y".repeat(600_000) };
    const specs = [spec({ traceId, attributes }), spec({ traceId, attributes })];
    await running.push(bodyOf(specs));
    const records = running.records();
    expect(records).toHaveLength(1);
    expect(spansOf(records)).toEqual(canonicalSpans(traceDataOf(specs)));
  });
});

describe("tenants", () => {
  it("are kept apart", async () => {
    const running = await start();
    const body = bodyOf([spec()]);
    await running.push(body, { tenant: "a" });
    await running.push(body, { tenant: "b" });
    expect(
      running
        .records()
        .map(({ tenant }) => tenant)
        .sort(),
    ).toEqual(["a", "b"]);
    const { registry } = running;
    expect(await metric(registry, "duplicate_records_total")).toBe(0);
    expect(await metric(registry, "spans_total", 'tenant="b"')).toBe(1);
  });

  it("send again by the key of what was received, whatever the body has become", async () => {
    const running = await start();
    const key = randomBytes(16);
    await running.push(bodyOf([spec({ traceId: "1".repeat(32) })]), { key });
    await running.push(bodyOf([spec({ traceId: "1".repeat(32), service: "cut" })]), { key });
    expect(running.records()).toHaveLength(1);
    expect(await metric(running.registry, "duplicate_records_total")).toBe(1);
  });

  it("whose spans cannot be stored are refused with a retry delay, others are not", async () => {
    const running = await start();
    running.failingTenants.add("a");
    const error = await refusal(running.push(bodyOf([spec()]), { tenant: "a" }));
    expect(error).toMatchObject({
      code: "Unavailable",
      reason: "tenant_store_failing",
      retryAfterMs: 1234,
    });
    expect((await running.push(bodyOf([spec()]), { tenant: "b" })).acceptedSpans).toBe(1);
    running.failingTenants.clear();
    expect((await running.push(bodyOf([spec()]), { tenant: "a" })).acceptedSpans).toBe(1);
  });
});

describe("requests with faults", () => {
  it("lose only the spans whose ids are bad, and say which", async () => {
    const running = await start();
    const good = spec();
    const body = bodyOf([
      spec({ traceId: "00".repeat(16) }),
      spec({ traceId: "ab" }),
      good,
      spec({ spanId: "" }),
      spec({ parentId: "0011" }),
    ]);
    expect(await running.push(body)).toEqual({
      acceptedSpans: 1,
      rejectedSpans: 4,
      rejectedMessage:
        "2 spans: invalid_trace_id (trace id is all zero); " +
        "1 span: invalid_span_id (span id has 0 bytes, not 8); " +
        "1 span: invalid_parent_span_id (parent span id has 2 bytes, not 8)",
    });
    expect(spansOf(running.records())).toEqual(canonicalSpans(traceDataOf([good])));
    const label = 'reason="invalid_trace_id"';
    expect(await metric(running.registry, "rejected_spans_total", label)).toBe(2);
  });

  it("with spans of bad ids only are answered without a record", async () => {
    const running = await start();
    const result = await running.push(bodyOf([spec({ spanId: "" })]));
    expect(result).toMatchObject({ acceptedSpans: 0, rejectedSpans: 1 });
    expect(running.records()).toEqual([]);
  });

  it.each([1, 1024 * 1024 + 1])("that do not parse are refused whole (%i bytes)", async (size) => {
    const running = await start();
    const body = new Uint8Array(size).fill(0xff);
    const error = await refusal(running.push(body));
    expect(error.code).toBe("InvalidInput");
    expect(running.records()).toEqual([]);
    const label = `reason="${error.reason}"`;
    expect(await metric(running.registry, "refused_requests_total", label)).toBe(1);
  });

  it("cut at any byte are refused or lose whole fields, and never break the next one", async () => {
    const running = await start();
    const body = bodyOverAll();
    for (let length = 0; length < body.length; length++) {
      await running.push(body.slice(0, length)).catch((error: unknown) => {
        expect(error).toMatchObject({ code: "InvalidInput" });
      });
    }
    const specs = [spec(), spec()];
    expect((await running.push(bodyOf(specs))).acceptedSpans).toBe(2);
    expect(spansOf(running.records())).toEqual(
      expect.arrayContaining(canonicalSpans(traceDataOf(specs))),
    );
  });
});

describe("a log that cannot take more", () => {
  it("is full: LimitExceeded with the time to wait", async () => {
    const running = await start({ bytesMax: 4000 });
    let error: SpoorError | undefined;
    for (let i = 0; i < 100 && error === undefined; i++) {
      const push = running.push(bodyOf([spec({ attributes: { filler: "z".repeat(400) } })]));
      error = await push.then(
        () => undefined,
        (thrown: SpoorError) => thrown,
      );
    }
    expect(error).toMatchObject({ code: "LimitExceeded", reason: "log_full" });
    expect(error!.retryAfterMs).toBeGreaterThan(0);
    // Room again once the records are in blocks.
    for (let i = 0; i < partitionCount; i++) {
      await running.spanLog.trim(i, running.spanLog.durableEnd(i), {});
    }
    expect((await running.push(bodyOf([spec()]))).acceptedSpans).toBe(1);
  });

  it("is busy: what waits in memory is bounded", async () => {
    const running = await start({ pendingBytesMax: 2000 });
    const pushes = Array.from({ length: 20 }, () =>
      running.push(bodyOf([spec({ attributes: { filler: "z".repeat(400) } })])),
    );
    const settled = await Promise.allSettled(pushes);
    const refused = settled.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThan(20);
    for (const error of refused) {
      expect(error).toMatchObject({ code: "LimitExceeded", reason: "log_busy" });
    }
    expect(running.records()).toHaveLength(20 - refused.length);
  });

  it("has no disk left: Unavailable with the time to wait", async () => {
    const running = await start({ freeBytesMin: Number.MAX_SAFE_INTEGER });
    const error = await refusal(running.push(bodyOf([spec()])));
    expect(error).toMatchObject({ code: "Unavailable", reason: "disk_space_low" });
    expect(error.retryAfterMs).toBeGreaterThan(0);
  });

  it("fails in one partition: the retry stores what is missing and doubles nothing", async () => {
    const running = await start();
    // Ten spans in each partition.
    const specs = Array.from({ length: 40 }, (_, i) =>
      spec({ traceId: idInPartition(i % partitionCount) }),
    );
    const body = bodyOf(specs);
    const broken = "/p2/";
    let failures = 0;
    running.fs.decide = (call, path) => {
      if (call !== "writev" || !path.includes(broken)) return undefined;
      failures++;
      return "before";
    };
    const error = await refusal(running.push(body));
    expect(failures).toBe(1);
    expect(error).toMatchObject({ code: "Unavailable", reason: "log_write_failed" });
    const taken = running.records().length;
    expect(taken).toBe(partitionCount - 1);
    running.fs.decide = () => undefined;
    expect((await running.push(body)).acceptedSpans).toBe(40);
    expect(spansOf(running.records())).toEqual(canonicalSpans(traceDataOf(specs)));
    const { registry } = running;
    expect(await metric(registry, "duplicate_records_total")).toBe(taken);
    expect(await metric(registry, "spans_total", 'tenant="single-tenant"')).toBe(40);
  });

  it("tells a client not to retry if one of two failures would stay", async () => {
    const running = await start({ pendingBytesMax: 4000 });
    running.fs.decide = (call, path) =>
      call === "writev" && path.includes("/p0/") ? "before" : undefined;
    const filler = "z".repeat(3000);
    const error = await refusal(
      running.push(
        bodyOf([
          spec({ traceId: idInPartition(0) }),
          spec({ traceId: idInPartition(1), attributes: { filler } }),
        ]),
      ),
    );
    expect(error).toMatchObject({ code: "TooLarge", reason: "record_too_large" });
  });
});

describe("a client that goes away", () => {
  it("before its request is stored leaves nothing", async () => {
    const running = await start();
    const signal = AbortSignal.abort();
    const error = await refusal(running.push(bodyOf([spec()]), { signal }));
    expect(error.code).toBe("Canceled");
    expect(running.records()).toEqual([]);
  });

  it("while it is stored gets no answer; its retry is stored once", async () => {
    const running = await start();
    const specs = Array.from({ length: 20 }, () => spec());
    const body = bodyOf(specs);
    const controller = new AbortController();
    const first = running.push(body, { signal: controller.signal });
    setImmediate(() => controller.abort());
    await first.catch((error: unknown) => expect(error).toMatchObject({ code: "Canceled" }));
    expect((await running.push(body)).acceptedSpans).toBe(20);
    expect(spansOf(running.records())).toEqual(canonicalSpans(traceDataOf(specs)));
  });
});
