/**
 * The statistics of an `add` action: a JSON text within the JSON of the commit.
 *
 *     {"numRecords":3,"minValues":{"start_unix_nano":1700000000000000001},"maxValues":{...},
 *      "nullCount":{}}
 *
 * 64-bit integers are raw JSON integers, which may exceed the range of a JavaScript number. So the
 * encoder builds the text by hand, and the decoder uses the source text of each number. A double
 * always has a point or an exponent, an integer never: types survive without the schema.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import { corrupt, isObject, type JsonObject, optionalObject, own, uintField } from "./json.ts";
import type { BlockStats, StatValue } from "./table-model.ts";

/** Maximum length of one block's statistics text, UTF-16 units. 64 Ki. */
export const statsLengthMax = 65_536;

export function encodeStats(stats: BlockStats): string {
  const min = encodeValues(stats.min);
  const max = encodeValues(stats.max);
  const text = `{"numRecords":${stats.rows},"minValues":${min},"maxValues":${max},"nullCount":{}}`;
  if (text.length <= statsLengthMax) return text;
  const message = `encode stats: ${text.length} characters exceed ${statsLengthMax}`;
  throw new SpoorError("InvalidInput", message, { reason: "invalid_change" });
}

/** Decodes statistics; leaves out nulls and nested values, which Spoor does not write. */
export function decodeStats(text: string, where: string): BlockStats {
  if (text.length > statsLengthMax) {
    throw corrupt(where, `stats of ${text.length} characters exceed ${statsLengthMax}`);
  }
  let stats: unknown;
  try {
    stats = JSON.parse(text, reviveNumber);
  } catch (error) {
    throw corrupt(where, "stats is not JSON", error);
  }
  if (!isObject(stats)) throw corrupt(where, "stats is not a JSON object");
  const records = own(stats, "numRecords");
  const rows = { numRecords: typeof records === "bigint" ? Number(records) : records };
  return {
    rows: uintField(rows, "numRecords", where),
    min: decodeValues(optionalObject(stats, "minValues", where)),
    max: decodeValues(optionalObject(stats, "maxValues", where)),
  };
}

function encodeValues(values: Readonly<Record<string, StatValue>>): string {
  const members: string[] = [];
  for (const [column, value] of Object.entries(values)) {
    members.push(`${JSON.stringify(column)}:${encodeValue(column, value)}`);
  }
  return `{${members.join(",")}}`;
}

function encodeValue(column: string, value: StatValue): string {
  if (typeof value === "bigint") {
    if (BigInt.asIntN(64, value) !== value) throw invalid(column, "is beyond 64 bits");
    return value.toString();
  }
  if (typeof value !== "number") {
    if (typeof value === "string" && !value.isWellFormed()) throw invalid(column, "is not Unicode");
    return JSON.stringify(value);
  }
  if (!Number.isFinite(value)) throw invalid(column, "is not a finite number");
  const text = Object.is(value, -0) ? "-0" : String(value);
  return /[.e]/u.test(text) ? text : `${text}.0`;
}

function decodeValues(values: JsonObject | undefined): Readonly<Record<string, StatValue>> {
  const entries: [string, StatValue][] = [];
  for (const [column, value] of Object.entries(values ?? {})) {
    if (isStatValue(value)) entries.push([column, value]);
  }
  return Object.fromEntries(entries);
}

function isStatValue(value: unknown): value is StatValue {
  return ["bigint", "number", "string", "boolean"].includes(typeof value);
}

/** Returns integers of up to 64 bits as bigint; larger ones (foreign decimals) stay approximate. */
function reviveNumber(_key: string, value: unknown, context?: { source?: string }): unknown {
  const source = context?.source;
  if (typeof value !== "number" || source === undefined || !/^-?\d{1,19}$/u.test(source)) {
    return value;
  }
  const whole = BigInt(source);
  return BigInt.asIntN(64, whole) === whole ? whole : value;
}

function invalid(column: string, why: string): SpoorError {
  const message = `encode stats: the value of column ${column} ${why}`;
  return new SpoorError("InvalidInput", message, { reason: "invalid_change" });
}
