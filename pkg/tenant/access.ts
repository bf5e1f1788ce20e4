/**
 * Access control. There are no users yet. A request names its tenant, which a gateway in front must
 * have checked. The operator holds `server.admin_token`.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { SpoorError } from "#pkg/errors/errors.ts";
import { resolveTenant } from "./tenant-name.ts";

/**
 * The right that a route needs:
 * - open: none; the route shows nothing about tenants.
 * - read: shows a tenant's own data. If the route shows several tenants, the operator sees all.
 * - write: a tenant sends or changes its own data.
 * - operate: shows all tenants at once. With multi-tenancy only the operator has access.
 * - admin: only the operator has access, always.
 */
export type Right = "open" | "read" | "write" | "operate" | "admin";

/** The receiver of a response. */
export interface Viewer {
  /** The tenant; undefined: no restriction to a tenant (operator, single tenant, open route). */
  tenant: string | undefined;
}

export interface Credentials {
  authorization: string | undefined;
  /** All values of X-Scope-OrgID. */
  tenants: readonly string[];
}

export class Access {
  readonly #multiTenancy: boolean;
  readonly #adminToken: string;

  /** With an empty `adminToken` there is no operator. */
  constructor(multiTenancy: boolean, adminToken: string) {
    this.#multiTenancy = multiTenancy;
    this.#adminToken = adminToken;
  }

  /**
   * Checks that a request has a right, and returns the viewer. Throws Unauthenticated, InvalidInput
   * (invalid tenant), or NotFound if admin routes are off.
   */
  check(right: Right, credentials: Credentials): Viewer {
    if (right === "open") return { tenant: undefined };
    if (right === "admin") return this.#admin(credentials);
    // Data always belongs to a tenant, even if the operator sends it.
    if (right === "write") return { tenant: this.tenantOf(credentials) };
    if (!this.#multiTenancy || this.#isAdmin(credentials)) return { tenant: undefined };
    if (right === "operate") {
      const message =
        "this shows all tenants: send the header Authorization: Bearer <server.admin_token>";
      throw new SpoorError("Unauthenticated", message, { reason: "no_admin_token" });
    }
    return { tenant: resolveTenant(credentials.tenants, true) };
  }

  /** Returns the tenant that a request names. Throws Unauthenticated or InvalidInput. */
  tenantOf({ tenants }: Pick<Credentials, "tenants">): string {
    return resolveTenant(tenants, this.#multiTenancy);
  }

  #admin(credentials: Credentials): Viewer {
    if (this.#adminToken === "") {
      const message = "admin routes are off: server.admin_token is not set";
      throw new SpoorError("NotFound", message, { reason: "admin_off" });
    }
    if (!this.#isAdmin(credentials)) {
      const message = "send the header Authorization: Bearer <server.admin_token>";
      throw new SpoorError("Unauthenticated", message, { reason: "no_admin_token" });
    }
    return { tenant: undefined };
  }

  #isAdmin({ authorization = "" }: Credentials): boolean {
    return this.#adminToken !== "" && isEqual(authorization, `Bearer ${this.#adminToken}`);
  }
}

/** Compares in constant time. */
function isEqual(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
