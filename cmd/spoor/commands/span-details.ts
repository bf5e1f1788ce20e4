/** The details of `spoor trace -v`: attributes, events and links of a span. */
import { type AnyValue, formatAnyValueJson, type KeyValue } from "#pkg/otlp/otlp.ts";
import { escapeControls } from "./escape.ts";
import { durationText } from "./times.ts";
import type { TreeNode } from "./trace-tree.ts";

const valueCharsMax = 500;

/** Yields the detail lines of a span, without line ends. */
export function* detailLines({ span }: TreeNode): Generator<string> {
  for (const attribute of span.attributes) yield `  ${attributeText(attribute)}`;
  for (const { timeUnixNano, name, attributes } of span.events) {
    const after = timeUnixNano - span.startTimeUnixNano;
    const when = after >= 0n ? `+${durationText(after)}` : `-${durationText(-after)}`;
    yield `  event ${when} ${escapeControls(name)}`;
    for (const attribute of attributes) yield `    ${attributeText(attribute)}`;
  }
  for (const { traceId, spanId, attributes } of span.links) {
    yield `  link ${Buffer.from(traceId).toString("hex")} ${Buffer.from(spanId).toString("hex")}`;
    for (const attribute of attributes) yield `    ${attributeText(attribute)}`;
  }
}

function attributeText({ key, value }: KeyValue): string {
  const text = valueText(value);
  const shown = text.length > valueCharsMax ? `${text.slice(0, valueCharsMax)}…` : text;
  return `${escapeControls(key)} = ${escapeControls(shown)}`;
}

/** Formats scalar values as plain text, others as OTLP/JSON. */
function valueText(value: AnyValue): string {
  switch (value.kind) {
    case "string":
      return value.value;
    case "bool":
    case "int":
    case "double":
      return String(value.value);
    default:
      return formatAnyValueJson(value);
  }
}
