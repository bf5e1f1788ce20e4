/** Extracts a filter from unfinished text, which tag endpoints get while a user types a query. */
import type { SyntaxNode, Tree } from "@lezer/common";
import { hasCode } from "#pkg/errors/errors.ts";
import type { FieldExpr } from "./ast.ts";
import { buildFilter } from "./build-field.ts";
import { contextOf, type ParseOptions } from "./parse-options.ts";
import { parseUnfinishedTree } from "./syntax.ts";

export interface LenientQuery {
  /** The condition of the first `{ }`; undefined if it is always true or cannot be parsed. */
  filter: FieldExpr | undefined;
}

/**
 * Parses unfinished text. A comparison without a right side, or with an unterminated string, counts
 * as true. Open braces and parentheses are closed at the end. Text after the first spanset filter
 * has no effect. Throws only RegexElsewhere (see `ParseOptions`).
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
    // The text is too long, too deep or invalid (so far), for example `{ name = 3 }`.
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
