/** Limits of a query. */

/** Longest query, in bytes of UTF-8. */
export const queryBytesMax: number = 128 * 1024;

/**
 * Deepest syntax tree: code may walk a tree by recursion. Each operator of a chain `a || b || c` is
 * a level. Operators between stages count twice.
 */
export const depthMax = 1000;

/**
 * Deepest tree of the parser, where parentheses are levels too. The canonical text of a syntax tree
 * of `depthMax` levels has at most 2,000 levels. Lezer flattens trees deeper than 2,500.
 */
export const treeDepthMax = 2300;

/**
 * Highest cost (`costOfRegex`) of all regular expressions of a query together, in steps. The time
 * to compile them, and to match a character, grows with the cost. 32,768 take about 50 ms to
 * compile.
 */
export const regexSizeMax = 32_768;
