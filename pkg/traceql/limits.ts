/** Bounds of a query's text. */

/** Longest query, in bytes of UTF-8. */
export const queryBytesMax: number = 128 * 1024;

/**
 * How deep syntax trees may be: whoever walks one may do so by recursion. A chain `a || b || c` is
 * as deep as it has operators. Operators between stages count twice.
 */
export const depthMax = 1000;

/**
 * How deep the parser's trees may be, where parentheses are levels too. The canonical text of a
 * tree of `depthMax` levels has at most 2,000; Lezer flattens its trees beyond 2,500.
 */
export const treeDepthMax = 2300;

/** Longest regular expression, UTF-16 units: its cost to compile and to run grows with it. */
export const patternCharsMax = 4096;
