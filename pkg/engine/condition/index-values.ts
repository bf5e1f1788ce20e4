/** Conversion of the values of a tag index, which stores them as text. */
import type { TagType } from "#pkg/block/block.ts";
import type { Value } from "./values.ts";

/** Types of indexed values. The index stores statuses and kinds as strings. */
export type IndexedType = TagType | "status" | "kind";

/** Converts a text of the index. The result for `other` (lists and the like) equals no value. */
export function valueOfText(type: IndexedType, text: string): Value {
  switch (type) {
    case "int64":
      return { type: "int", value: BigInt(text) };
    case "double":
      return { type: "float", value: Number(text) };
    case "bool":
      return { type: "bool", value: text === "true" };
    case "other":
      return { type: "other" };
    default:
      return { type, value: text } as Value;
  }
}
