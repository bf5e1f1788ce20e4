/**
 * The door of pkg/tenant: names of tenants, and who has access to them.
 */
export { Access, type Credentials, type Right, type Viewer } from "./access.ts";
export { isTenantName, singleTenant } from "./tenant-name.ts";
