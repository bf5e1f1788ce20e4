/** Test support: a frontend on a free port over test spans, and raw HTTP requests. */
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { Registry } from "prom-client";
import type { Partition, StoredBlock } from "#pkg/questions/shards.ts";
import type { Clock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { SpanSpec } from "#pkg/engine/testing/spans.ts";
import { noTracer } from "#pkg/selftrace/selftrace.ts";
import { TenantLimits } from "#pkg/limits/tenant-limits.ts";
import { Refusals } from "#pkg/limits/refusals.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { Access } from "#pkg/tenant/access.ts";
import { type FrontendConfig, frontendConfig } from "#modules/frontend/config.ts";
import { Frontend, type FrontendOptions } from "#modules/frontend/frontend.ts";
import { headShard, TestSpans } from "#pkg/query/testing/spans.ts";

export const nowMs = 1_700_000_000_000;
const clock: Clock = {
  nowMs: () => nowMs,
  monotonicMs: () => nowMs,
  sleep: async () => undefined,
};
const second = 1_000_000_000n;
const now = BigInt(nowMs) * 1_000_000n;
export const place: { partition: Partition; rowGroupSpans: number } = {
  partition: { index: 0, count: 1 },
  rowGroupSpans: 100,
};

export const root: SpanSpec = {
  traceId: "0000000000000000000000000000abcd",
  spanId: "0000000000000001",
  service: "shop",
  name: "GET /",
  startNano: now - 60n * second,
  endNano: now - 59n * second,
};
export const child: SpanSpec = {
  ...root,
  spanId: "0000000000000002",
  parentId: root.spanId,
  name: "db",
  isError: true,
};

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  text: string;
}

export interface Ask {
  method?: string;
  headers?: Record<string, string | string[]>;
}

export interface RigOptions extends Partial<FrontendOptions> {
  multiTenancy?: boolean;
  adminToken?: string;
}

export class Rig {
  readonly spans: TestSpans = new TestSpans();
  readonly registry: Registry = new Registry();
  readonly frontend: Frontend;
  port: number = 0;

  constructor(config: Partial<FrontendConfig> = {}, options: RigOptions = {}) {
    const { multiTenancy = false, adminToken = "", ...given } = options;
    this.frontend = new Frontend({
      config: frontendConfig.parse({ port: 0, ...config }),
      live: this.spans,
      stored: this.spans,
      version: "0.1.0",
      readiness: () => undefined,
      configText: () => "secret: <redacted>\n",
      status: async () => ({
        version: "0.1.0",
        startedMs: 0,
        notReady: undefined,
        problems: [],
        tables: [],
      }),
      limits: new TenantLimits(),
      refusals: new Refusals(clock, openLog("silent")),
      statusPages: {},
      pathPrefix: "",
      tracer: noTracer,
      clock,
      log: openLog("silent"),
      registry: this.registry,
      access: new Access(multiTenancy, adminToken),
      ...given,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.frontend.stop();
  }

  async start(): Promise<this> {
    ({ port: this.port } = await this.frontend.start());
    return this;
  }

  /** Sends one request. Unlike fetch, it does not normalize the URL. */
  async ask(path: string, { method = "GET", headers = {} }: Ask = {}): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const host = "127.0.0.1";
    const request = httpRequest({ host, port: this.port, path, method, headers }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("error", reject);
      response.on("end", () => {
        const body = Buffer.concat(parts);
        const { statusCode = 0, headers: got } = response;
        resolve({ status: statusCode, headers: got, body, text: body.toString() });
      });
    });
    request.on("error", reject);
    request.end();
    return await promise;
  }

  async json(path: string): Promise<unknown> {
    return JSON.parse((await this.ask(path)).text);
  }
}

/** Starts a frontend with a root span in a block and its child in a head. */
export async function filled(
  config: Partial<FrontendConfig> = {},
  options: RigOptions = {},
): Promise<Rig> {
  const rig = new Rig(config, options);
  await rig.spans.addBlock("a", [root], place);
  rig.spans.heads = [headShard([child], { ...place, appId: "log/1/0", toOffset: 5 })];
  rig.spans.transactions.set("log/1/0", 3);
  return await rig.start();
}

/** Sends one request to a new frontend. */
export async function askFilled(path: string): Promise<Answer> {
  await using rig = await filled();
  return await rig.ask(path);
}

/** Makes the only block unreadable and returns it. */
export function breakBlock(rig: Rig): StoredBlock {
  const [block] = rig.spans.blocks;
  const error = new SpoorError("Corrupt", "checksum\u00e4 does not match");
  rig.spans.broken.set(block.path, error);
  return block;
}
