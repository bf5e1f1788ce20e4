/**
 * Converts the search parameters that precede TraceQL (`tags`, `minDuration`, `maxDuration`) to a
 * condition. One span must have all of the tags. The durations are the trace's.
 */
import { hasCode } from "#pkg/errors/errors.ts";
import { formatField } from "#pkg/traceql/format.ts";
import {
  type ComparisonOp,
  type FieldExpr,
  type IntrinsicName,
  parseNumber,
  type ParseOptions,
  parseQuery,
  type Static,
} from "#pkg/traceql/traceql.ts";
import { invalid } from "./params-errors.ts";

const range = { from: 0, to: 0 };

/**
 * Returns the condition that a span has every tag; undefined if there are no tags. Throws
 * InvalidInput.
 */
export function tagsFilter(
  tags: ReadonlyMap<string, string>,
  options: ParseOptions = {},
): FieldExpr | undefined {
  const filter = allOf([...tags].map(([key, value]) => tagFilter(key, value)));
  if (filter !== undefined) checkBounds(filter, options);
  return filter;
}

/**
 * Returns the condition that a trace's duration is between `min` and `max`, which have Go's format.
 * Throws InvalidInput.
 */
export function durationFilter(
  min: string | undefined,
  max: string | undefined,
): FieldExpr | undefined {
  const least = min === undefined ? undefined : parseGoDuration("minDuration", min);
  const most = max === undefined ? undefined : parseGoDuration("maxDuration", max);
  if (least !== undefined && most !== undefined && most < least) {
    throw invalid("invalid maxDuration: must not be less than minDuration");
  }
  const duration = intrinsic("trace:duration");
  const compared = (op: ComparisonOp, value: bigint | undefined): FieldExpr[] =>
    value === undefined ? [] : [compare(duration, op, { type: "duration", value })];
  return allOf([...compared(">=", least), ...compared("<=", most)]);
}

/** Joins conditions with `&&`; returns undefined if there are none. */
export function allOf(conditions: readonly (FieldExpr | undefined)[]): FieldExpr | undefined {
  const known = conditions.filter((one) => one !== undefined);
  return known.length === 0 ? undefined : known.reduce((a, b) => logical("&&", a, b));
}

function tagFilter(key: string, value: string): FieldExpr {
  switch (key) {
    case "name":
      return contains(intrinsic("span:name"), value);
    case "root.name":
      return contains(intrinsic("trace:rootName"), value);
    case "root.service.name":
      return contains(intrinsic("trace:rootService"), value);
    case "status.code":
      return statusFilter(value);
    case "error":
      if (value === "true") return statusFilter("error");
      break;
    default:
  }
  return attributeFilter({ kind: "attribute", scope: "any", name: key, range }, value);
}

function statusFilter(word: string): FieldExpr {
  if (word !== "ok" && word !== "error" && word !== "unset") return literal(false);
  return compare(intrinsic("span:status"), "=", { type: "status", value: word });
}

/** Returns a condition: strings contain the value; numbers and booleans are equal to it. */
function attributeFilter(reference: FieldExpr, value: string): FieldExpr {
  // Every string contains the empty string.
  if (value === "") return compare(reference, "!=", { type: "nil" });
  const text = contains(reference, value);
  const other = scalarOf(value);
  return other === undefined ? text : logical("||", text, compare(reference, "=", other));
}

function scalarOf(value: string): Static | undefined {
  if (value === "true" || value === "false") return { type: "bool", value: value === "true" };
  const parsed = parseNumber(value.replace(/^-/, ""));
  if (!("value" in parsed) || parsed.value.type === "duration") return undefined;
  if (!value.startsWith("-")) return parsed.value;
  const { type, value: size } = parsed.value;
  return type === "int" ? { type, value: -size } : { type, value: -size };
}

function contains(reference: FieldExpr, value: string): FieldExpr {
  const quoted = value.replaceAll(/[\\^$.|?*+()[\]{}]/g, String.raw`\$&`);
  return compare(reference, "=~", { type: "string", value: `(?s).*${quoted}.*` });
}

function intrinsic(name: IntrinsicName): FieldExpr {
  return { kind: "intrinsic", name, range };
}

function literal(value: boolean): FieldExpr {
  return { kind: "static", static: { type: "bool", value }, range };
}

function compare(left: FieldExpr, op: ComparisonOp, right: Static): FieldExpr {
  return { kind: "comparison", op, left, right: { kind: "static", static: right, range }, range };
}

function logical(op: "&&" | "||", left: FieldExpr, right: FieldExpr): FieldExpr {
  return { kind: "logical", op, left, right, range };
}

/** Checks that a condition built from tags is within the limits of a TraceQL text. */
function checkBounds(filter: FieldExpr, options: ParseOptions): void {
  try {
    parseQuery(`{ ${formatField(filter)} }`, options);
  } catch (error) {
    if (!hasCode(error, "InvalidInput")) throw error;
    throw invalid(`invalid tags: too many or too long: ${error.message}`);
  }
}

/** Parses a duration in Go's format. Returns nanoseconds. Throws InvalidInput. */
function parseGoDuration(name: string, text: string): bigint {
  const isGo = /^((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+$/.test(text);
  if (text === "0") return 0n;
  const parsed = parseNumber(text);
  if (isGo && "value" in parsed && parsed.value.type === "duration") {
    return parsed.value.value;
  }
  const shown = JSON.stringify(text.slice(0, 100));
  throw invalid(`invalid ${name}: must be a duration like 100ms, not ${shown}`);
}
