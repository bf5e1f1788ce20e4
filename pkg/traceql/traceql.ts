/**
 * TraceQL: parses text to a checked syntax tree (`ast.ts`) and formats it. README.md lists the
 * differences to Tempo. `pkg/engine` evaluates queries.
 */
import type { Query } from "./ast.ts";
import { buildQuery } from "./build-query.ts";
import { contextOf, type ParseOptions } from "./parse-options.ts";
import { parseTree } from "./syntax.ts";

export type * from "./ast.ts";
export { formatQuery } from "./format-query.ts";
export { intrinsicOf, intrinsics } from "./intrinsics.ts";
export { parseLeniently } from "./lenient.ts";
export { notSupportedYet } from "./not-supported.ts";
export type { ParseOptions } from "./parse-options.ts";
export { RegexElsewhere } from "./check-field.ts";
export { compileRegex } from "./regex.ts";

/**
 * Parses, checks and folds a query. Throws InvalidInput with reason `traceql` and the text `parse
 * error at line L, col C: <description>`; lines and columns (characters) count from 1. Throws
 * RegexElsewhere if the query's regular expressions cost more than `options.regexSizeHere`.
 */
export function parseQuery(text: string, options: ParseOptions = {}): Query {
  const wellFormed = text.toWellFormed();
  const context = contextOf(wellFormed, { ...options, isLenient: false });
  return buildQuery(context, parseTree(wellFormed));
}
export type {
  ArithmeticOp,
  AttributeScope,
  ComparisonOp,
  FieldExpr,
  IntrinsicName,
  LiteralSet,
  Range,
  Reference,
  Scalar,
  Static,
} from "./ast.ts";
export { parseNumber } from "./literals.ts";
export type { Glob, RegexShape } from "./regex-shape.ts";
