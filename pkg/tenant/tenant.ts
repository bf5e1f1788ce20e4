/**
 * The door of pkg/tenant: tenant names and access control.
 */
export { Access, type Credentials, type Right, type Viewer } from "./access.ts";
export { isTenantName, singleTenant } from "./tenant-name.ts";
