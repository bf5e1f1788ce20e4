import { get as httpGet } from "node:http";
import { describe, expect, it } from "vitest";
import type { FrontendConfig } from "./config.ts";
import type { FrontendOptions } from "./frontend.ts";
import { type Ask, askFilled, filled, nowMs, Rig } from "#modules/frontend/http/http.testing.ts";

describe("tenants", () => {
  const tenantsOf = (rig: Rig): string[] => {
    const seen: string[] = [];
    const { spans } = rig;
    const snapshot = spans.snapshot.bind(spans);
    spans.snapshot = async (tenant, minVersion) => {
      seen.push(tenant);
      return await snapshot(tenant, minVersion);
    };
    return seen;
  };

  it("ignores the header while multi-tenancy is off", async () => {
    await using rig = await filled();
    const seen = tenantsOf(rig);
    await rig.ask("/api/search", { headers: { "X-Scope-OrgID": "../x" } });
    expect(seen).toEqual(["single-tenant"]);
  });

  it("wants one name while it is on", async () => {
    await using rig = await filled({}, { multiTenancy: true });
    const seen = tenantsOf(rig);
    const status = async (header: string | string[] | undefined): Promise<number> => {
      const headers: Ask["headers"] = header === undefined ? {} : { "X-Scope-OrgID": header };
      return (await rig.ask("/api/search", { headers })).status;
    };
    const none = await rig.ask("/api/traces/abcd");
    expect([none.status, none.text]).toEqual([401, "no org id"]);
    expect(await status("")).toBe(401);
    expect(await status("../a")).toBe(400);
    expect(await status("_spoor")).toBe(400);
    expect(await status(["a", "b"])).toBe(400);
    expect(await status("a")).toBe(200);
    expect(await status(["b", "b"])).toBe(200);
    expect(seen).toEqual(["a", "b"]);
    expect((await rig.ask("/api/echo")).status).toBe(200);
  });
});

describe("other routes", () => {
  it("answers them", async () => {
    await using rig = await filled();
    const echo = await rig.ask("/api/echo");
    expect([echo.status, echo.text]).toEqual([200, "echo\n"]);
    const ready = await rig.ask("/ready");
    expect([ready.status, ready.text]).toEqual([200, "ready\n"]);
    expect((await rig.ask("/config")).text).toBe("secret: <redacted>\n");
    expect(await rig.json("/api/status/buildinfo")).toMatchObject({
      version: "2.7.0",
      spoorVersion: "0.1.0",
    });
    const metrics = await rig.ask("/metrics");
    expect(metrics.text).toContain('spoor_frontend_requests_total{route="/ready",status="200"} 1');
    expect(metrics.headers["content-type"]).toContain("text/plain");
  });

  it("is not ready with a reason", async () => {
    await using rig = await new Rig({}, { readiness: () => "reading the log" }).start();
    const answer = await rig.ask("/ready");
    expect([answer.status, answer.text]).toEqual([503, "reading the log\n"]);
  });

  it("shows a page that runs nothing, whatever names say", async () => {
    const evil = `"><script>alert('1')</script>&`;
    const tables = [
      {
        key: "evil",
        title: evil,
        hint: evil,
        columns: [{ key: evil }, { key: "spans" }, { key: "size", unit: "bytes" as const }],
        rows: [[evil, 1_234_567, 1_649_267_441_664]],
      },
      { key: "empty", title: "empty", columns: [{ key: "a" }, { key: "b" }], rows: [] },
    ];
    const status: FrontendOptions["status"] = () => ({
      version: evil,
      startedMs: nowMs - 3_661_000,
      notReady: evil,
      problems: [evil],
      tables,
    });
    await using rig = await new Rig({}, { status }).start();
    const page = await rig.ask("/");
    expect(page.status).toBe(200);
    expect(page.headers["content-security-policy"]).toContain("default-src 'none'");
    expect(page.text).not.toContain("<script");
    expect(page.text).toContain("&#60;script&#62;");
    expect(page.text).toContain("1,234,567");
    expect(page.text).toContain("1.50 TiB");
    expect(page.text).toContain("up 1 h 1 min");
    for (const answer of [
      await rig.ask("/status?format=json"),
      await rig.ask("/", { headers: { accept: "application/json" } }),
    ]) {
      expect(answer.headers["content-type"]).toBe("application/json");
      expect(JSON.parse(answer.text)).toEqual({
        version: evil,
        ready: false,
        notReady: evil,
        uptimeSeconds: 3661,
        problems: [evil],
        evil: [{ [evil]: evil, spans: 1_234_567, size: 1_649_267_441_664 }],
        empty: [],
      });
    }
  });

  it.each(["/nothing", "/api", "/api/traces", "/api/traces/", "/api/traces/a/b", "/api/v2/search"])(
    "does not know %s",
    async (path) => {
      const answer = await askFilled(path);
      expect([answer.status, answer.text]).toEqual([404, "404 page not found"]);
    },
  );

  it.each(["//api/echo", "/api//echo", "///api////echo?x=//", "//ready"])(
    "takes %s with its slashes",
    async (path) => {
      expect((await askFilled(path)).status).toBe(200);
    },
  );

  it("serves all below a prefix, probes and metrics without it, too", async () => {
    await using rig = await filled({}, { pathPrefix: "/traces/here" });
    for (const path of ["/traces/here/api/echo", "/traces/here/", "/traces/here", "/ready"]) {
      expect((await rig.ask(path)).status, path).toBe(200);
    }
    expect((await rig.ask("/traces/here/")).text).toContain('href="/traces/here/metrics"');
    expect((await rig.ask("/traces/here/api/traces/abcd")).status).toBe(200);
    for (const path of ["/api/echo", "/", "/traces/hereapi/echo", "/traces"]) {
      expect((await rig.ask(path)).status, path).toBe(404);
    }
  });

  it("answers HEAD without a body", async () => {
    await using rig = await filled();
    for (const path of ["/ready", "/", "/api/search", "/api/traces/abcd", "/metrics"]) {
      const answer = await rig.ask(path, { method: "HEAD" });
      expect([answer.status, answer.body.length]).toEqual([200, 0]);
      expect(Number(answer.headers["content-length"])).toBeGreaterThan(0);
    }
    expect((await rig.ask("/nothing", { method: "HEAD" })).status).toBe(404);
  });

  it("takes any method for queries, as Tempo does, and only GET for the rest", async () => {
    await using rig = await filled();
    for (const method of ["POST", "PUT", "DELETE"]) {
      expect((await rig.ask("/api/search", { method })).status).toBe(200);
      const refused = await rig.ask("/ready", { method });
      expect([refused.status, refused.headers.allow]).toEqual([405, "GET, HEAD"]);
    }
  });

  it("says nothing about the inside when something unexpected happens", async () => {
    await using rig = await new Rig(
      {},
      { configText: () => raise("/etc/passwd is missing") },
    ).start();
    const answer = await rig.ask("/config");
    expect([answer.status, answer.text]).toEqual([500, "internal error"]);
  });
});

function raise(message: string): never {
  throw new Error(message);
}

describe("limits", () => {
  /** A rig whose searches wait until `open` is called. */
  async function held(
    config: Partial<FrontendConfig>,
  ): Promise<{ rig: Rig; entered: Promise<AbortSignal>; open: () => void }> {
    const rig = new Rig(config);
    const entered = Promise.withResolvers<AbortSignal>();
    const gate = Promise.withResolvers<void>();
    rig.spans.pin = async (_tenant?: string, signal?: AbortSignal) => {
      entered.resolve(signal!);
      const aborted = Promise.withResolvers<never>();
      signal!.addEventListener("abort", () => aborted.reject(new Error("aborted")));
      await Promise.race([gate.promise, aborted.promise]);
      return { heads: [], tableVersion: -1, incomplete: [], release: () => undefined };
    };
    await rig.start();
    return { rig, entered: entered.promise, open: () => gate.resolve() };
  }

  it("refuses queries beyond the limit, and tells when to come again", async () => {
    const { rig: held1, entered, open } = await held({ queriesMax: 1 });
    await using rig = held1;
    const first = rig.ask("/api/search");
    await entered;
    const second = await rig.ask("/api/search");
    expect([second.status, second.headers["retry-after"]]).toEqual([429, "1"]);
    expect((await rig.ask("/ready")).status).toBe(200);
    open();
    expect((await first).status).toBe(200);
    expect((await rig.ask("/api/search")).status).toBe(200);
  });

  it("ends a query that takes too long", async () => {
    await using rig = (await held({ queryTimeoutMs: 50 })).rig;
    const answer = await rig.ask("/api/search");
    expect([answer.status, answer.text]).toEqual([504, "context deadline exceeded"]);
  });

  it("stops the work when the client goes away", async () => {
    const { rig: held1, entered } = await held({});
    await using rig = held1;
    const request = httpGet({ host: "127.0.0.1", port: rig.port, path: "/api/search" });
    request.on("error", () => undefined);
    const signal = await entered;
    const { promise, resolve } = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => resolve());
    request.destroy();
    await promise;
    expect(signal.aborted).toBe(true);
  });

  it("says so when its port is taken", async () => {
    await using rig = await filled();
    const other = new Rig({ port: rig.port });
    await expect(other.start()).rejects.toMatchObject({ code: "Unavailable", reason: "listen" });
  });
});
