/** Prints a config as YAML that parses to an equal config, except for its secrets. */
import { stringify } from "yaml";
import type { z } from "zod";
import { configTree, type ConfigNode } from "./config-tree.ts";
import { formatDuration } from "./duration.ts";
import { escapeVariables } from "./interpolate.ts";
import { redacted, redactUserinfo } from "#pkg/log/log.ts";
import { formatSize } from "./size.ts";

/** Returns the effective config with all defaults; secrets and users in URLs are `<redacted>`. */
export function printConfig<T>(schema: z.ZodType<T>, config: T): string {
  return stringify(toYaml(configTree(schema), config), { lineWidth: 0 });
}

/** Converts a value of the program to its YAML form. */
export function toYaml(node: ConfigNode, value: unknown): unknown {
  if (value === undefined) return undefined;
  switch (node.kind) {
    case "section": {
      const section = value as Record<string, unknown>;
      return new Map(
        node.fields
          .filter((field) => section[field.name] !== undefined)
          .map((field) => [field.key, toYaml(field.node, section[field.name])]),
      );
    }
    case "map":
      return new Map(
        Object.entries(value as Record<string, unknown>).map(([key, entry]) => [
          key,
          toYaml(node.value, entry),
        ]),
      );
    case "list":
      return (value as unknown[]).map((item) => toYaml(node.item, item));
    case "scalar":
      break;
  }
  if (node.secret) return value === "" ? "" : redacted;
  if (node.type === "duration") return formatDuration(value as number);
  if (node.type === "size") return formatSize(value as number);
  return typeof value === "string" ? escapeVariables(redactUserinfo(value)) : value;
}
