/**
 * Who may ask for what. There are no users yet: tenants name themselves (a gateway in front has
 * checked them), and the operator holds `server.admin_token`.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { SpoorError } from "#pkg/errors/errors.ts";
import { resolveTenant } from "./tenant-name.ts";

/**
 * What a route needs:
 * - open: nothing; it says nothing about any tenant.
 * - read: a tenant's own data; the operator sees all tenants where the route shows several.
 * - write: a tenant sends or changes its own data.
 * - operate: shows all tenants at once. With multi-tenancy only the operator may see it.
 * - admin: the operator's, always.
 */
export type Right = "open" | "read" | "write" | "operate" | "admin";

/** For whom an answer is made. */
export interface Viewer {
  /** Undefined: the operator, who sees all tenants. */
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

  /** Without a token nobody is the operator. */
  constructor(multiTenancy: boolean, adminToken: string) {
    this.#multiTenancy = multiTenancy;
    this.#adminToken = adminToken;
  }

  /** Throws Unauthenticated or InvalidInput (tenant), NotFound where admin routes are off. */
  check(right: Right, credentials: Credentials): Viewer {
    if (right === "open") return { tenant: undefined };
    if (right === "admin") return this.#admin(credentials);
    // The operator's data, too, are some tenant's.
    if (right === "write") return { tenant: this.tenantOf(credentials) };
    if (!this.#multiTenancy || this.#isAdmin(credentials)) return { tenant: undefined };
    if (right === "operate") {
      const message =
        "this shows all tenants: send the header Authorization: Bearer <server.admin_token>";
      throw new SpoorError("Unauthenticated", message, { reason: "no_admin_token" });
    }
    return { tenant: resolveTenant(credentials.tenants, true) };
  }

  /** The tenant that a request names. Throws Unauthenticated or InvalidInput. */
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

/** In a time that says nothing of where they differ. */
function isEqual(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
