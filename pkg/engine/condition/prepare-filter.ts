/** Preparation of conditions for many batches: patterns are compiled once and can be cancelled. */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { FieldExpr } from "#pkg/traceql/traceql.ts";
import type { Regex, RegexCache } from "#pkg/traceql/regex.ts";

export interface FilterTools {
  regexes: RegexCache;
  /** Whether the request was cancelled; checked before each match of a pattern. */
  isStopped: () => boolean;
}

/** Returns the condition with compiled patterns. Throws InvalidInput for an invalid pattern. */
export function prepareFilter(expr: FieldExpr, tools: FilterTools): FieldExpr {
  switch (expr.kind) {
    case "not":
    case "negate":
      return { ...expr, operand: prepareFilter(expr.operand, tools) };
    case "comparison": {
      const { op, right } = expr;
      const left = prepareFilter(expr.left, tools);
      const isPattern = (op === "=~" || op === "!~") && right.kind === "static";
      if (!isPattern || right.static.type !== "string") {
        return { ...expr, left, right: prepareFilter(right, tools) };
      }
      const regex = stoppable(tools.regexes.get(right.static.value), tools);
      return { ...expr, left, right: { ...right, regex } };
    }
    case "logical":
    case "arithmetic": {
      const left = prepareFilter(expr.left, tools);
      return { ...expr, left, right: prepareFilter(expr.right, tools) };
    }
    default:
      return expr;
  }
}

function stoppable({ literals, shape, matches }: Regex, { isStopped }: FilterTools): Regex {
  return {
    literals,
    shape,
    matches: (text) => {
      if (isStopped()) throw new SpoorError("Canceled", "match a pattern: request was cancelled");
      return matches(text);
    },
  };
}
