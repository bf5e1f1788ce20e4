/**
 * Attribute values as text, for the rest lists: one letter for the type, then the value.
 *
 *     s<text>   string          i<decimal>  64-bit integer      b0 / b1  boolean
 *     d<number> double          j<json>     array, key-value list, bytes or empty, as OTLP/JSON
 *
 * A double is the shortest decimal that reads back as the same number, or NaN, Infinity, -Infinity,
 * -0. The text is a dictionary entry, so a search compares it once per distinct value.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import { type AnyValue, formatAnyValueJson, parseAnyValueJson } from "#pkg/otlp/otlp.ts";

export function formatRestValue(value: AnyValue): string {
  switch (value.kind) {
    case "string":
      return `s${value.value}`;
    case "int":
      return `i${value.value}`;
    case "bool":
      return value.value ? "b1" : "b0";
    case "double":
      return `d${formatDouble(value.value)}`;
    default:
      return `j${formatAnyValueJson(value)}`;
  }
}

/** Parses the text of `formatRestValue`. Throws Corrupt for text that it never writes. */
export function parseRestValue(text: string): AnyValue {
  const rest = text.slice(1);
  switch (text[0]) {
    case "s":
      return { kind: "string", value: rest };
    case "i":
      if (/^-?\d{1,19}$/.test(rest)) return { kind: "int", value: BigInt(rest) };
      break;
    case "b":
      if (rest === "0" || rest === "1") return { kind: "bool", value: rest === "1" };
      break;
    case "d":
      if (rest !== "") return { kind: "double", value: Number(rest) };
      break;
    case "j":
      return parseAnyValueJson(rest);
  }
  throw new SpoorError("Corrupt", `attribute value has unknown form: ${text.slice(0, 40)}`);
}

function formatDouble(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}
