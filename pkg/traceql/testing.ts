/** What the tests of this folder share. */

/** A copy of a tree without the places in the text that its nodes came from. */
export function withoutRanges(tree: unknown): unknown {
  if (Array.isArray(tree)) return tree.map(withoutRanges);
  if (typeof tree !== "object" || tree === null) return tree;
  return Object.fromEntries(
    Object.entries(tree)
      .filter(([key]) => key !== "range")
      .map(([key, value]) => [key, withoutRanges(value)]),
  );
}
