/** Filters out of unfinished text, as the endpoints of tags get while somebody types a query. */
import type { SyntaxNode, Tree } from "@lezer/common";
import { hasCode } from "#pkg/errors/errors.ts";
import type { FieldExpr } from "./ast.ts";
import { buildFilter } from "./build-field.ts";
import { contextOf, type ParseOptions } from "./parse-options.ts";
import { parseUnfinishedTree } from "./syntax.ts";

export interface LenientQuery {
  /** The condition of the first `{ }`; undefined if it is always true or not understood. */
  filter: FieldExpr | undefined;
}

/**
 * Throws RegexElsewhere only, as the options say. Comparisons without a right side count as true,
 * what is open at the end is closed, and what follows the first spanset filter has no effect.
 */
export function parseLeniently(text: string, options: ParseOptions = {}): LenientQuery {
  const wellFormed = text.toWellFormed();
  try {
    const node = findFilter(parseUnfinishedTree(wellFormed));
    if (node === undefined || hasError(node)) return { filter: undefined };
    const filter = buildFilter(contextOf(wellFormed, { ...options, isLenient: true }), node, 0);
    const isAll = filter.kind === "static" && filter.static.type === "bool" && filter.static.value;
    return { filter: isAll ? undefined : filter };
  } catch (error) {
    // It is too long or too deep, or makes no sense (yet), such as `{ name = 3 }`.
    if (hasCode(error, "InvalidInput")) return { filter: undefined };
    throw error;
  }
}

function findFilter(tree: Tree): SyntaxNode | undefined {
  const cursor = tree.cursor();
  do {
    if (cursor.name === "SpansetFilter") return cursor.node;
  } while (cursor.next());
  return undefined;
}

function hasError(filter: SyntaxNode): boolean {
  const cursor = filter.toTree().cursor();
  do {
    if (cursor.type.isError) return true;
  } while (cursor.next());
  return false;
}
