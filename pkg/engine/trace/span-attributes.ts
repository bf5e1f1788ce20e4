/**
 * The attributes that a search lists for a matching span: the values of the names in the filter, by
 * their bare names, as Tempo does.
 */
import type { SpanAttribute } from "#pkg/api/api.ts";
import type { ColumnBatch } from "#pkg/columns/columns.ts";
import type { FieldExpr, IntrinsicName, Reference } from "#pkg/traceql/traceql.ts";
import { referencesOf } from "#pkg/engine/condition/filter.ts";
import { RowEvaluator } from "#pkg/engine/condition/filter-rows.ts";
import type { Value } from "#pkg/engine/condition/values.ts";

/** Intrinsics that have their own field in the response. */
const fieldNames: readonly IntrinsicName[] = [
  "span:name",
  "span:duration",
  "span:id",
  "trace:id",
  "trace:duration",
  "trace:rootName",
  "trace:rootService",
];
/** Intrinsics that clients know by their old names. */
const shortNames: Partial<Record<IntrinsicName, string>> = {
  "span:status": "status",
  "span:kind": "kind",
  "span:statusMessage": "statusMessage",
};

export class SpanAttributes {
  readonly #rows: RowEvaluator;
  readonly #references: readonly { key: string; reference: Reference }[];

  constructor(batch: ColumnBatch, filter: FieldExpr) {
    this.#rows = new RowEvaluator(batch);
    this.#references = referencesOf(filter).flatMap((reference) => {
      if (reference.kind === "attribute") return { key: reference.name, reference };
      if (fieldNames.includes(reference.name)) return [];
      return { key: shortNames[reference.name] ?? reference.name, reference };
    });
  }

  /**
   * Returns one value per name: the first in the order of the filter. Lists and other composite
   * values are left out.
   */
  ofRow(row: number): SpanAttribute[] {
    const out: SpanAttribute[] = [];
    for (const { key, reference } of this.#references) {
      if (out.some((known) => known.key === key)) continue;
      const value = shownValue(this.#rows.firstValue(reference, row));
      if (value !== undefined) out.push({ key, value });
    }
    return out;
  }
}

function shownValue(value: Value | undefined): SpanAttribute["value"] | undefined {
  if (value === undefined || value.type === "array" || value.type === "other") return undefined;
  return value.type === "duration" ? formatNanos(value.value) : value.value;
}

/** Formats a duration as Go does: `1.5s`, `2m0s`, `150µs`. */
function formatNanos(nanos: bigint): string {
  if (nanos === 0n) return "0s";
  const sign = nanos < 0n ? "-" : "";
  const size = nanos < 0n ? -nanos : nanos;
  const decimal = (unit: bigint): string => {
    const digits = String(unit).length - 1;
    const fraction = String(size % unit)
      .padStart(digits, "0")
      .replace(/0+$/, "");
    return `${size / unit}${fraction === "" || digits === 0 ? "" : `.${fraction}`}`;
  };
  if (size < 1_000n) return `${sign}${size}ns`;
  if (size < 1_000_000n) return `${sign}${decimal(1_000n)}µs`;
  if (size < 1_000_000_000n) return `${sign}${decimal(1_000_000n)}ms`;
  const minute = 60_000_000_000n;
  const seconds = decimalSeconds(size % minute);
  const minutes = size / minute;
  if (minutes === 0n) return `${sign}${seconds}`;
  const hours = minutes / 60n;
  return `${sign}${hours > 0n ? `${hours}h` : ""}${minutes % 60n}m${seconds}`;
}

function decimalSeconds(nanos: bigint): string {
  const fraction = String(nanos % 1_000_000_000n)
    .padStart(9, "0")
    .replace(/0+$/, "");
  return `${nanos / 1_000_000_000n}${fraction === "" ? "" : `.${fraction}`}s`;
}
