/** Values as a tag index lists them, which is as text. */
import type { TagType } from "#pkg/block/block.ts";
import type { Value } from "./values.ts";

/** Words of statuses and kinds are texts to the index. */
export type IndexedType = TagType | "status" | "kind";

/** Lists and the like (`other`) have no value here that equals anything. */
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
