import { expect, it } from "vitest";
import { openLog } from "#pkg/log/pino-log.ts";
import { Refusals } from "#pkg/limits/refusals.ts";
import { systemClock } from "#pkg/clock/clock.ts";
import { Access, type Right } from "#pkg/tenant/access.ts";
import { buildApp } from "#modules/frontend/http/http.ts";
import { filled, Rig } from "#modules/frontend/http/http.testing.ts";
import type { HttpParts } from "#modules/frontend/http/http-context.ts";
import { routesOf } from "#modules/frontend/http/routes.ts";

const token = "s3cret";
const asAdmin = { authorization: `Bearer ${token}` };

it("lets only the operator see all tenants where there are several", () => {
  const check = (access: Access, right: Right, tenants: string[], authorization?: string) => {
    try {
      return access.check(right, { tenants, authorization }).tenant ?? "all";
    } catch (error) {
      return (error as { reason: string }).reason;
    }
  };
  const many = new Access(true, token);
  const seen = (right: Right): string[] => [
    check(many, right, []),
    check(many, right, ["a"]),
    check(many, right, ["a"], "Bearer wrong"),
    check(many, right, [], asAdmin.authorization),
  ];
  expect(seen("open")).toEqual(["all", "all", "all", "all"]);
  expect(seen("read")).toEqual(["no_tenant", "a", "a", "all"]);
  expect(seen("operate")).toEqual(["no_admin_token", "no_admin_token", "no_admin_token", "all"]);
  expect(seen("admin")).toEqual(["no_admin_token", "no_admin_token", "no_admin_token", "all"]);
  const one = new Access(false, "");
  for (const right of ["open", "read", "operate"] as const)
    expect(check(one, right, [])).toBe("all");
  expect(check(one, "admin", [], "Bearer ")).toBe("admin_off");
});

/** What the table has; handlers are not called. */
function routes() {
  const parts = { statusPages: { refused: () => undefined } } as unknown as HttpParts;
  return routesOf(parts);
}

it("declares every route once, with its right, parameters and answers", () => {
  const declared = routes();
  const app = buildApp({ pathPrefix: "" } as HttpParts, declared);
  const served = new Set(app.routes.map(({ path }) => path));
  expect([...served].toSorted()).toEqual(declared.map(({ path }) => path).toSorted());
  expect(new Set(declared.map(({ path }) => path)).size).toBe(declared.length);
  for (const { path, answers, right } of declared) {
    expect(answers.length, path).toBeGreaterThan(0);
    if (path.startsWith("/admin")) expect(right).toBe("admin");
  }
});

it("answers a route only to those with its right, all of them", async () => {
  const options = { multiTenancy: true, adminToken: token };
  await using rig = await filled({}, options);
  for (const { path, right, method } of routes()) {
    if (path.includes(":") || path.includes("*") || path.startsWith("/admin")) continue;
    if (path === "/status/refused") continue;
    const anybody = await rig.ask(path);
    expect(anybody.status === 401, `${method} ${path} for anybody`).toBe(right !== "open");
    if (right === "operate") {
      const tenant = await rig.ask(path, { headers: { "x-scope-orgid": "a" } });
      expect([path, tenant.status]).toEqual([path, 401]);
      expect((await rig.ask(path, { headers: asAdmin })).status).toBe(200);
    }
  }
});

it("shows a tenant only its own part of a page", async () => {
  const refusals = new Refusals(systemClock, openLog("silent"));
  const viewers: (string | undefined)[] = [];
  const statusPages = {
    refused: ({ tenant }: { tenant: string | undefined }) => {
      viewers.push(tenant);
      return { version: "", startedMs: 0, notReady: undefined, problems: [], tables: [] };
    },
  };
  const options = { multiTenancy: true, adminToken: token, statusPages, refusals };
  await using rig = await new Rig({}, options).start();
  await rig.ask("/status/refused", { headers: { "x-scope-orgid": "a" } });
  await rig.ask("/status/refused", { headers: asAdmin });
  expect((await rig.ask("/status/refused")).status).toBe(401);
  expect(viewers).toEqual(["a", undefined]);
});
