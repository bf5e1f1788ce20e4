/** Tenant names. They are folder names in the bucket, so the pattern is strict. */
import { SpoorError } from "#pkg/errors/errors.ts";

/** The only tenant while multi-tenancy is off. */
export const singleTenant = "single-tenant";

/** The names that Tempo allows, up to 150 bytes; names that start with `_` or `.` are reserved. */
const tenantPattern = /^[A-Za-z0-9!*'()-][A-Za-z0-9!\-_.*'()]{0,149}$/;

/** Returns whether `name` is a valid tenant name. */
export function isTenantName(name: string): boolean {
  return tenantPattern.test(name);
}

/**
 * Returns the tenant of a request from all values of its X-Scope-OrgID header. Throws
 * Unauthenticated if there is none, InvalidInput for an invalid name or for differing values.
 */
export function resolveTenant(values: readonly string[], multiTenancy: boolean): string {
  if (!multiTenancy) return singleTenant;
  const names = new Set(values);
  if (names.size === 0 || (names.size === 1 && names.has(""))) {
    throw new SpoorError("Unauthenticated", "no org id", { reason: "no_tenant" });
  }
  if (names.size > 1) {
    throw new SpoorError("InvalidInput", "X-Scope-OrgID was sent with differing values", {
      reason: "invalid_tenant",
    });
  }
  const [name] = names;
  if (!isTenantName(name)) {
    const shown = JSON.stringify(name.slice(0, 200));
    throw new SpoorError(
      "InvalidInput",
      `tenant ${shown} is not allowed: 1 to 150 of A-Z a-z 0-9 ! - _ . * ' ( ), ` +
        "not starting with _ or .",
      { reason: "invalid_tenant" },
    );
  }
  return name;
}
