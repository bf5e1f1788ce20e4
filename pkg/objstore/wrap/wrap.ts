/**
 * The door of pkg/objstore/wrap: behaviours of stores.
 */
export { CacheEvictor } from "./cache-keeper.ts";
export { type RequestPrices, countsOf, estimateCost } from "./count.ts";
