/** Generates the reference page of a config: one table per section. */
import type { z } from "zod";
import { formatNumber } from "./settings.ts";
import { configTree, type ConfigNode, type ScalarNode, type SectionNode } from "./config-tree.ts";
import { toYaml } from "./print.ts";

export interface ReferenceOptions {
  title: string;
  /** Markdown below the title. */
  intro: string;
}

/** Returns Markdown with key, type, default, unit and description of every key, by section. */
export function configReference(schema: z.ZodType, options: ReferenceOptions): string {
  const parts = [`# ${options.title}\n`, `${options.intro}\n`];
  addSection(parts, configTree(schema), "");
  return parts.join("\n");
}

/** Adds the table of a section, then a table per nested section under its full path. */
function addSection(parts: string[], section: SectionNode, path: string): void {
  const rows: string[] = [];
  const nested: [section: SectionNode, path: string][] = [];
  for (const { key, node } of section.fields) {
    const fieldPath = path === "" ? key : `${path}.${key}`;
    if (node.kind === "section") nested.push([node, fieldPath]);
    else if (node.kind === "map" && node.value.kind === "section") {
      nested.push([node.value, `${fieldPath}.<name>`]);
    } else rows.push(row(key, node));
  }
  if (path !== "") parts.push(`## ${path}\n`);
  if (section.description !== "") parts.push(`${section.description}\n`);
  if (rows.length > 0) {
    parts.push(
      ["| key | type | default | unit | description |", "|---|---|---|---|---|", ...rows, ""].join(
        "\n",
      ),
    );
  }
  for (const [child, childPath] of nested) addSection(parts, child, childPath);
}

function row(key: string, node: ConfigNode): string {
  const cells = [`\`${key}\``, typeText(node), defaultText(node), unitText(node), node.description];
  const escaped = cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " "));
  return `| ${escaped.join(" | ")} |`;
}

function typeText(node: ConfigNode): string {
  if (node.kind === "section") return "section";
  if (node.kind === "map") return `keys with values of type ${typeText(node.value)}`;
  return node.kind === "list" ? `list of ${typeText(node.item)}` : scalarTypeText(node);
}

function scalarTypeText(node: ScalarNode): string {
  if (node.type === "choice") return node.choices.map((choice) => `\`${choice}\``).join(", ");
  if (node.type === "text") return node.secret ? "text, secret" : "text";
  if (node.type === "boolean") return "`true`, `false`";
  const bounds: string[] = [];
  if (node.min > 0) bounds.push(`at least ${formatNumber(node, node.min)}`);
  if (node.max < Number.MAX_SAFE_INTEGER) bounds.push(`at most ${formatNumber(node, node.max)}`);
  return [node.type, ...bounds].join(", ");
}

function unitText(node: ConfigNode): string {
  if (node.kind === "list") return unitText(node.item);
  if (node.kind !== "scalar") return "";
  if (node.type === "duration") return "ms, s, m, h, d";
  return node.type === "size" ? "B, KB, KiB, MB, MiB ..." : "";
}

function defaultText(node: ConfigNode): string {
  if (node.defaultValue === undefined) return node.required ? "required" : "";
  const value = toYaml(node, node.defaultValue);
  if (typeof value === "string" && value !== "") return `\`${value}\``;
  return `\`${JSON.stringify(value instanceof Map ? Object.fromEntries(value) : value)}\``;
}
