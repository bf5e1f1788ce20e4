/**
 * The door of pkg/limits: limits of tenants, token buckets, reports of refusals.
 */
export { type RefusalEntry, Refusals } from "./refusals.ts";
export {
  type LimitOverrides,
  type Limits,
  TenantLimits,
  limitFields,
  limitNames,
  limitOverrides,
} from "./tenant-limits.ts";
export { TokenBucket } from "./token-bucket.ts";
