/**
 * Limits of a tenant's writes and queries. The defaults are a section of the config; the overrides
 * file sets single fields for single tenants. 0 always means "no limit".
 */
import { z } from "zod";

export interface Limits {
  ingestBytesPerSecond: number;
  ingestBurstBytes: number;
  spansPerRequestMax: number;
  attributeKeyBytesMax: number;
  attributeValueBytesMax: number;
  attributesPerSpanMax: number;
  traceSpansMax: number;
  queriesMax: number;
  queriesQueuedMax: number;
  queryBytesMax: number;
  queryRangeMs: number;
}

const number: z.ZodInt = z.int().min(0);

/** One schema per limit, without defaults, as the overrides use them. */
const fields: { [K in keyof Limits]: z.ZodInt } = {
  ingestBytesPerSecond: number.describe(
    "Bytes of requests per second, after decompression; further requests are refused for now",
  ),
  ingestBurstBytes: number.describe(
    "Bytes that may arrive at once before the rate applies; a larger request is admitted if the " +
      "whole burst is free",
  ),
  spansPerRequestMax: number.describe(
    "Spans of one request; a larger request is refused and not worth a retry",
  ),
  attributeKeyBytesMax: number.describe("Bytes of an attribute's key; the rest is cut off"),
  attributeValueBytesMax: number.describe("Bytes of an attribute's value; the rest is cut off"),
  attributesPerSpanMax: number.describe(
    "Attributes of a span, event, link, scope or resource; further ones are dropped and counted",
  ),
  traceSpansMax: number.describe(
    "Spans of one trace in one head; a larger trace is kept, counted and reported",
  ),
  queriesMax: number.describe("Concurrent queries; more wait in the tenant's queue"),
  queriesQueuedMax: number.describe("Queries that may wait; further queries are refused for now"),
  queryBytesMax: number.describe(
    "Bytes that one query may read; a query that needs more is refused",
  ),
  queryRangeMs: number.describe("Longest time range of a query"),
};

const mebibyte = 1024 * 1024;

export const defaultLimits: Limits = {
  ingestBytesPerSecond: 0,
  ingestBurstBytes: 64 * mebibyte,
  spansPerRequestMax: 0,
  attributeKeyBytesMax: 0,
  attributeValueBytesMax: 0,
  attributesPerSpanMax: 0,
  traceSpansMax: 100_000,
  queriesMax: 0,
  queriesQueuedMax: 100,
  queryBytesMax: 0,
  queryRangeMs: 0,
};

type Names = readonly (keyof Limits)[];
export const limitNames: Names = Object.keys(defaultLimits) as unknown as Names;

/** Schemas of the fields with their defaults, for a section of the config. */
export const limitFields: { [K in keyof Limits]: z.ZodDefault<z.ZodInt> } = Object.fromEntries(
  limitNames.map((name) => [
    name,
    fields[name].default(defaultLimits[name]).describe(fields[name].description ?? ""),
  ]),
) as { [K in keyof Limits]: z.ZodDefault<z.ZodInt> };

export interface LimitOverrides {
  tenants: Record<string, Partial<Limits>>;
}

/** Schema of the overrides file. */
export const limitOverrides: z.ZodType<LimitOverrides> = z.strictObject({
  tenants: z
    .record(z.string(), z.strictObject(optionalFields()))
    .default({})
    .describe("Limits that differ from the config's, by tenant"),
}) as unknown as z.ZodType<LimitOverrides>;

function optionalFields(): Record<string, z.ZodOptional<z.ZodInt>> {
  return Object.fromEntries(limitNames.map((name) => [name, fields[name].optional()]));
}

/** The current limits of every tenant. */
export class TenantLimits {
  readonly #defaults: Limits;
  readonly #listeners: (() => void)[] = [];
  #overrides: ReadonlyMap<string, Limits> = new Map();

  constructor(defaults: Partial<Limits> = {}) {
    this.#defaults = { ...defaultLimits, ...defaults };
  }

  /** Limits of tenants without an override. */
  get defaults(): Limits {
    return this.#defaults;
  }

  /** Tenant -> its limits, for tenants with an override. */
  get overrides(): ReadonlyMap<string, Limits> {
    return this.#overrides;
  }

  of(tenant: string): Limits {
    return this.#overrides.get(tenant) ?? this.#defaults;
  }

  /** Replaces all overrides; an unset field has the default. */
  setOverrides({ tenants }: LimitOverrides): void {
    const entries = Object.entries(tenants).map(([tenant, own]) => {
      const set = Object.entries(own).filter(([, value]) => value !== undefined);
      return [tenant, { ...this.#defaults, ...Object.fromEntries(set) }] as const;
    });
    this.#overrides = new Map(entries);
    for (const listener of this.#listeners) listener();
  }

  /** Calls `listener` after each change. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }
}
